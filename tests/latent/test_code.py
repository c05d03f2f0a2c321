"""Codes that carry their place, size and detail: frames of every kind of shape, and paths between them."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.settings import FIT, LEARNED, REFINEMENT

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.frames import Frame
from latentsdf.config.model import Branch
from latentsdf.geometry.mesh import load, save
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.code import Code, Codes
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import CodeLike, ShapeSpace

PLACE = Similarity((30.0, -4.0, 7.0), 0.02, 2.5)
"""A frame far from the origin, in a much smaller unit, and rotated."""


@pytest.fixture(scope="module")
def moved(unseen: trimesh.Trimesh) -> trimesh.Trimesh:
    """The unseen table, 100 times as large and far from the origin."""
    return trimesh.Trimesh(100 * unseen.vertices + [500, -20, 9], unseen.faces, process=False)


@pytest.fixture(scope="module")
def shapes(trained_space: ShapeSpace, moved: trimesh.Trimesh) -> dict[str, CodeLike]:
    """One shape of every kind, by name."""
    fit = trained_space.invert(moved, replace(FIT, steps=15))
    refined = trained_space.refine(fit, moved, REFINEMENT)
    learned = trained_space.refine(fit, moved, replace(LEARNED, steps=40))
    path = trained_space.interpolate("table_0000", refined, steps=3)
    return {
        "id": "table_0001",
        "item": trained_space["table_0001"],
        "bare code": trained_space.code("table_0001"),
        "fit": fit,
        "rotated fit": replace(fit, similarity=PLACE),
        "refined fit": refined,
        "fit with learned detail": learned,
        "start of a path": path[0],
        "middle of a path": path[1],
        "end of a path": path[2],
        "mean": trained_space.mean(),
        "sum": trained_space.combine((0.5, "table_0000"), (0.5, "table_0001")),
    }


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["shape", "model"])
def test_distance_at_extracted_vertices(trained_space: ShapeSpace, shapes: dict[str, CodeLike], frame: Frame) -> None:
    """Extracted vertices are within 2 voxels of the zero set in both frames, for every kind of shape."""
    for name, shape in shapes.items():
        mesh = trained_space.extract(shape, 32, frame=frame)
        unit = 1 if frame == "model" else 1 / trained_space.similarity(shape).scale
        found = np.abs(trained_space.distance(shape, mesh.vertices, frame=frame))
        assert found.max() <= 2 * (2 / 32) * unit, name
        assert found.mean() <= 0.2 * (2 / 32) * unit, name


@pytest.mark.slow
def test_frames_related_by_similarity(trained_space: ShapeSpace, shapes: dict[str, CodeLike]) -> None:
    """Meshes, distances, gradients and fields of both frames agree up to the similarity of the shape."""
    shape = shapes["rotated fit"]
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (500, 3))
    moved = PLACE.to_user(points)
    model = trained_space.distance(shape, points, frame="model")
    np.testing.assert_allclose(trained_space.distance(shape, moved), model / 0.02, atol=2e-3)
    for field in (trained_space.fused, trained_space.field):
        placed = field(shape)(torch.from_numpy(moved).float()).numpy()  # type: ignore[operator]
        plain = field(shape, frame="model")(torch.from_numpy(points).float()).numpy()  # type: ignore[operator]
        np.testing.assert_allclose(placed, plain / 0.02, atol=2e-3)
    slope = trained_space.gradient_norm(shape, points, frame="model")
    # A point that rounding moves across a kink or the border of a grid cell has another gradient.
    assert np.median(np.abs(trained_space.gradient_norm(shape, moved) - slope)) < 1e-3
    mesh, model_mesh = trained_space.extract(shape, 64), trained_space.extract(shape, 64, frame="model")
    np.testing.assert_allclose(mesh.vertices, PLACE.to_user(model_mesh.vertices), atol=1e-9)


@pytest.mark.slow
def test_gradient_in_frame_of_shape(trained_space: ShapeSpace, shapes: dict[str, CodeLike]) -> None:
    """A field in the frame of a shape is differentiable there, with the rotated gradient of model space."""
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    moved = torch.from_numpy(PLACE.to_user(points.numpy())).float().requires_grad_()
    gradients = []
    for at, frame in ((moved, "shape"), (points.requires_grad_(), "model")):
        trained_space.field(shapes["rotated fit"], frame=frame)(at).sum().backward()  # type: ignore[arg-type]
        gradients.append(at.grad.numpy())  # type: ignore[union-attr]
    np.testing.assert_allclose(gradients[0], gradients[1] @ PLACE.rotation(), atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear", "spherical", "shortest", "prior"])
def test_ends_of_path(trained_space: ShapeSpace, shapes: dict[str, CodeLike], method: str) -> None:
    """A path passes exactly through the surfaces that its shapes have on their own, with layers, detail and place."""
    given = [shapes["refined fit"], "table_0002", shapes["rotated fit"]]
    path = trained_space.interpolate(*given, steps=5, method=method)  # type: ignore[arg-type]
    for step, shape in zip((0, 2, 4), given, strict=True):
        mine, own = trained_space.extract(path[step], 32), trained_space.extract(shape, 32)
        assert np.array_equal(mine.vertices, own.vertices) and np.array_equal(mine.faces, own.faces)
    assert path[1].delta is not None and path[3].delta is None
    assert path[1].layers is not None and path[2].layers is None


@pytest.mark.slow
def test_parts_along_path(trained_space: ShapeSpace, shapes: dict[str, CodeLike]) -> None:
    """Layers and detail change linearly, the scale by a constant ratio, the rotation by a constant angle."""
    refined = shapes["fit with learned detail"]
    assert isinstance(refined, Inversion) and refined.layers is not None and isinstance(refined.delta, Delta)
    end = Code(trained_space.code("table_0000").numpy(), Similarity((1.0, 2.0, 3.0), 4.0, -1.0))
    path = trained_space.interpolate(refined, end, steps=5)
    first, share = refined.similarity, np.linspace(0, 1, 5)
    np.testing.assert_allclose([one.similarity.yaw for one in path], first.yaw + share * (-1.0 - first.yaw))
    ratio = 4.0 / first.scale
    np.testing.assert_allclose([one.similarity.scale for one in path], first.scale * ratio**share)
    centers = np.array([one.similarity.center for one in path])
    np.testing.assert_allclose(centers, first.center + share[:, None] * (np.array([1.0, 2, 3]) - first.center))
    quarter = path[1]
    np.testing.assert_allclose(quarter.layers, 0.75 * refined.layers + 0.25 * end.code, atol=1e-6)
    assert isinstance(quarter.delta, Delta) and np.array_equal(quarter.delta.rows, refined.delta.rows)
    for name in ("features", "correction"):
        faded = 0.75 * getattr(refined.delta, name).astype(float)
        np.testing.assert_allclose(getattr(quarter.delta, name), faded, rtol=2e-3, atol=1e-6)
    general = trained_space.field(replace(quarter, delta=None), frame="model")
    points = torch.rand(200, 3) - 0.5
    assert not torch.equal(trained_space.field(quarter, frame="model")(points), general(points))
    trained_space.extract(quarter, 32)  # the detail is valid for the code in between


@pytest.mark.slow
def test_sums_of_shapes(trained_space: ShapeSpace, shapes: dict[str, CodeLike]) -> None:
    """A sum with one term is that shape, A - B + B has the surface of A, and the mean has the mean place."""
    refined = shapes["refined fit"]
    own = trained_space.extract(refined, 32)
    assert np.array_equal(trained_space.extract(trained_space.combine((1, refined)), 32).vertices, own.vertices)
    canceled = trained_space.combine((1, "table_0003"), (-1, refined), (1, refined))
    points = np.asarray(trained_space.extract("table_0003", 32).vertices)
    np.testing.assert_allclose(
        trained_space.distance(canceled, points), trained_space.distance("table_0003", points), atol=2e-3
    )
    scales = [trained_space.similarity(name).scale for name in trained_space]
    for mean in (trained_space.mean(), trained_space.sample(2)[1], trained_space.direction(0)[0]):
        assert mean.similarity.scale == pytest.approx(math.exp(np.mean(np.log(scales))))
    with pytest.raises(ls.ConfigError, match="one or more pairs"):
        trained_space.combine()


def test_codes_as_arrays(space: ShapeSpace, tmp_path: Path) -> None:
    """Paths and codes work where arrays of codes did: in NumPy, torch, files, and as codes of shapes."""
    path = space.interpolate("table_0000", "table_0001", steps=4)
    plain = np.asarray(path)
    assert plain.shape == path.shape == (4, 8) and plain.dtype == np.float32
    np.testing.assert_array_equal(path.mean(0), plain.mean(0))
    np.testing.assert_array_equal(path - path[0], plain - plain[0])
    np.testing.assert_array_equal(path[:, 2], plain[:, 2])
    np.testing.assert_array_equal(np.linalg.norm(path, axis=1), np.linalg.norm(plain, axis=1))
    assert torch.equal(torch.as_tensor(np.asarray(path[1])), torch.from_numpy(plain[1]))
    np.save(tmp_path / "codes.npy", path)
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), plain)
    assert isinstance(path[1:], Codes) and len(path[1:]) == 3 and isinstance(path[-1], Code)
    assert np.asarray(list(path)).shape == (4, 8)
    np.testing.assert_array_equal(space.code(path[1]).numpy(), plain[1])
    assert space.nearest(path[0], 1).ids == ["table_0000"]


def test_code_of_another_space(space: ShapeSpace) -> None:
    """A code that belongs to another space is refused."""
    with pytest.raises(ls.CheckpointError, match="the code: expected a fit of this space"):
        space.extract(replace(space["table_0000"], space="another"))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    "call",
    [
        lambda space: space.extract("table_0000", 32, frame="user"),
        lambda space: space.distance("table_0000", np.zeros((1, 3)), frame="user"),
        lambda space: space.gradient_norm("table_0000", np.zeros((1, 3)), frame="user"),
        lambda space: space.field("table_0000", frame="user"),
        lambda space: space.fused("table_0000", frame="user"),
    ],
)
def test_unknown_frame(space: ShapeSpace, call: Callable[[ShapeSpace], object]) -> None:
    """An unknown frame is refused with both choices."""
    with pytest.raises(ls.ConfigError, match="frame: expected one of 'shape', 'model', got str 'user'"):
        call(space)


def test_compressed_detail_along_path(trained_space: ShapeSpace, shapes: dict[str, CodeLike]) -> None:
    """Compressed detail fades linearly as the residual over its shape, also in a combination of a combination."""
    fit, refined, learned = shapes["fit"], shapes["refined fit"], shapes["fit with learned detail"]
    points = 1.6 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.8

    def distance(shape: CodeLike, branch: Branch) -> torch.Tensor:
        return trained_space.field(shape, branch, frame="model")(points)

    end = trained_space["table_0000"]
    for branch in ("general", "overfit"):
        residual = distance(refined, branch) - distance(fit, branch)  # type: ignore[arg-type]
        other = distance(learned, branch) - distance(fit, branch)  # type: ignore[arg-type]
        for shape, shares in (
            (trained_space.combine((0.75, refined), (0.25, end)), (0.75, 0.0)),
            (trained_space.combine((0.5, trained_space.combine((0.5, refined), (0.5, end))), (0.5, end)), (0.25, 0.0)),
            (trained_space.combine((0.5, refined), (0.5, learned)), (0.5, 0.5)),
        ):
            without = distance(replace(shape, delta=None), branch)  # type: ignore[arg-type]
            expected = without + shares[0] * residual
            # Learned features pass through the networks of the shape in between, so only the general branch is linear.
            if shares[1] and branch == "overfit":
                continue
            expected = expected + shares[1] * other
            torch.testing.assert_close(distance(shape, branch), expected, atol=2e-4, rtol=0)  # type: ignore[arg-type]


@pytest.mark.slow
def test_fit_of_command_in_python_and_back(
    space: ShapeSpace, space_path: Path, moved: trimesh.Trimesh, tmp_path: Path
) -> None:
    """A fit of the command, refined in Python and saved, is extracted by the command as by Python."""
    save(moved, tmp_path / "table.ply")
    words = ["invert", str(space_path), str(tmp_path / "table.ply"), "--out", str(tmp_path / "fit"), "--steps", "5"]
    assert cli.main([*words, "--resolution", "32", "--device", "cpu"]) == 0
    fit = ls.load_fit(tmp_path / "fit")
    np.testing.assert_allclose(space.extract(fit, 32).vertices, load(tmp_path / "fit" / "mesh.ply").vertices, rtol=1e-5)
    refined = space.refine(fit, moved, replace(LEARNED, steps=5))
    refined.save(tmp_path / "refined")
    words = ["extract", str(space_path), "--code", str(tmp_path / "refined"), "--resolution", "32", "--device", "cpu"]
    assert cli.main([*words, "--out", str(tmp_path / "again.ply")]) == 0
    end = space.interpolate("table_0000", ls.load_fit(tmp_path / "refined"), steps=2)[1]
    np.testing.assert_allclose(space.extract(end, 32).vertices, load(tmp_path / "again.ply").vertices, rtol=1e-5)
    assert np.abs(space.distance(refined, space.extract(refined, 32).vertices)).mean() < 0.2 * moved.scale / 32
