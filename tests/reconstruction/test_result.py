"""Fields in the user's frame, and the folder that stores them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.settings import short_preset

import latentsdf as ls
from latentsdf.config.frames import Frame
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError

OLD_FIELD = Path(__file__).parents[1] / "data_0_1" / "field_2d"


class _Ball(torch.nn.Module):
    """|x| - r."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(radius))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


def test_frame_of_user() -> None:
    """Distances, mesh and contours are in the user's frame, also outside the fitted box."""
    ball = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    probes = np.array([[3.0, 0, 0], [3, 1.2, 0], [3, 0, 2]])
    assert ball.distance(probes) == pytest.approx([-1.2, 0.0, 0.8], abs=1e-5)
    # Outside the box of half side 1.1 / 0.5 = 2.2: the distance to the box, and the field on it.
    assert ball.distance([[3.0, 0, 5]]) == pytest.approx([2.2 - 1.2 + 2.8], abs=1e-5)
    assert torch.allclose(ball.model_space_distance(torch.eye(3)), torch.full((3,), 0.4))
    vertices = np.asarray(ball.mesh(32).vertices) - [3, 0, 0]
    assert np.abs(np.linalg.norm(vertices, axis=1) - 1.2).max() < 0.02
    disk = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0), 0.5), ReconstructConfig())
    (line,) = disk.contours(128)
    assert np.abs(np.linalg.norm(line - [3, 0], axis=1) - 1.2).max() < 0.01 and np.allclose(line[0], line[-1])


def test_model_space() -> None:
    """With frame="model", the distances, meshes, contours and fields are those of the network."""
    ball = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    probes = np.array([[0.0, 0, 0], [0, 0.6, 0], [0, 0, 2]])
    assert ball.distance(probes, frame="model") == pytest.approx([-0.6, 0.0, 1.4], abs=1e-5)
    assert np.abs(ball.distance(ball.mesh(32).vertices)).max() < 0.02
    mesh = ball.mesh(32, frame="model")
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.6).max() < 0.01
    frames: tuple[Frame, ...] = ("shape", "model")
    for frame in frames:
        at = 2.5 * np.asarray(ball.mesh(32, frame=frame).vertices)  # some outside the box
        values = ball.field(frame=frame)(torch.from_numpy(at).float()).detach().numpy()
        np.testing.assert_allclose(values, ball.distance(at, frame=frame), atol=1e-5)
    disk = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0), 0.5), ReconstructConfig())
    (line,) = disk.contours(128, frame="model")
    assert np.abs(np.linalg.norm(line, axis=1) - 0.6).max() < 0.005


@pytest.mark.usefixtures("without_shape_checks")
def test_derivatives_of_a_field() -> None:
    """Fields have finite second derivatives inside the box and outside, for points of any type; NaN is refused."""
    ball = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    for dtype in (torch.float16, torch.float64):
        assert ball.field()(torch.tensor([[3.0, 0, 2]], dtype=dtype)).dtype == dtype
    points = torch.tensor([[3.4, 0.5, 0.2], [3.0, 4.0, 0.0]], dtype=torch.float64)
    hessian = torch.stack(
        [torch.autograd.functional.hessian(lambda x: ball.field()(x[None]).sum(), point) for point in points]
    )
    offset = points[0] - torch.tensor([3.0, 0, 0])
    direction = offset / offset.norm()
    expected = (torch.eye(3) - torch.outer(direction, direction)) / offset.norm()  # of |x - c| - r
    torch.testing.assert_close(hessian[0], expected.double(), atol=1e-4, rtol=0)
    assert hessian.isfinite().all()
    with pytest.raises(ConfigError, match="1 of 2 points are not finite"):
        ball.field()(torch.tensor([[0.0, 0, 0], [torch.nan, 0, 0]]))


def test_unknown_frame() -> None:
    """A frame that does not exist is refused by every method, and a 2D field is no field in space."""
    disk = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0), 0.5), ReconstructConfig())
    ball = Reconstruction(_Ball(0.6), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    for call in (
        lambda: disk.contours(128, frame="user"),  # type: ignore[arg-type]
        lambda: disk.distance([[0.0, 0.0]], frame="user"),  # type: ignore[arg-type]
        lambda: ball.mesh(16, frame="user"),  # type: ignore[arg-type]
        lambda: ball.field(frame="user"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="frame: expected one of 'shape', 'model', got str 'user'"):
            call()
    with pytest.raises(ConfigError, match="a 2D field has no surface in space"):
        disk.field()


def test_dimension_errors() -> None:
    """A 2D field has no mesh, a 3D one no contours, and a field without zeros has neither."""
    solid = Reconstruction(_Ball(0.6), Similarity((0.0, 0.0, 0.0), 1.0), ReconstructConfig())
    planar = Reconstruction(_Ball(-0.6), Similarity((0.0, 0.0), 1.0), ReconstructConfig())
    with pytest.raises(ConfigError, match="a 3D field has no contours"):
        solid.contours()
    with pytest.raises(ConfigError, match="a 2D field has no mesh"):
        planar.mesh()
    with pytest.raises(EmptyLevelSetError, match="no zero level set"):
        planar.contours(32)


def test_invalid_points() -> None:
    """Points that are not finite or of another dimension are refused."""
    field = Reconstruction(_Ball(0.6), Similarity((0.0, 0.0), 1.0), ReconstructConfig())
    with pytest.raises(ConfigError, match="1 of 2 points are not finite numbers"):
        field.distance([[0.0, np.nan], [0, 1]])
    with pytest.raises(ConfigError, match=r"points must have shape \(N, 2\)"):
        field.distance([[0.0, 1, 2]])


@pytest.mark.slow
def test_saved_field(tmp_path: Path) -> None:
    """A saved field has the distances, configuration and history of the original."""
    first = ls.reconstruct(circle_points(500, 3.0), config=short_preset("hotspot", steps=20))
    probes = np.random.default_rng(0).uniform(-3, 3, (200, 2))
    first.save(tmp_path / "field")
    loaded = ls.load_field(tmp_path / "field")
    assert np.array_equal(loaded.distance(probes), first.distance(probes))
    assert loaded.config == first.config and loaded.history == first.history
    assert [entry["step"] for entry in first.history] == [20]
    assert len({path.stat().st_mode for path in (tmp_path / "field").iterdir()}) == 1  # the same permissions


@pytest.mark.slow
def test_incomplete_folder(tmp_path: Path) -> None:
    """Missing, damaged and inconsistent files are refused by name."""
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ls.load_field(tmp_path / "none")
    folder = tmp_path / "field"
    ls.reconstruct(circle_points(500, 3.0), config=short_preset("hotspot", steps=2)).save(folder)
    (folder / "config.yaml").write_text("")
    with pytest.raises(CheckpointError, match=r"config\.yaml: damaged, it has 0 bytes"):
        ls.load_field(folder)
    (folder / "manifest.json").unlink()  # as a folder of an earlier version, but for the mark in field.json
    metadata = json.loads((folder / "field.json").read_text())
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        ls.load_field(folder)
    del metadata["manifest"]
    (folder / "field.json").write_text(json.dumps(metadata | {"format": 99}))
    with pytest.raises(CheckpointError, match="field format 99"):
        ls.load_field(folder)
    (folder / "field.json").write_text(json.dumps(metadata))
    (folder / "config.yaml").write_text("model:\n  width: 16\n")
    with pytest.raises(CheckpointError, match="different runs"):
        ls.load_field(folder)
    (folder / "field.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        ls.load_field(folder)
    (folder / "field.json").unlink()
    with pytest.raises(CheckpointError, match=r"field\.json is missing"):
        ls.load_field(folder)


def test_field_of_version_0_1() -> None:
    """A field that version 0.1 saved has the distances and phases that version computed."""
    field = ls.load_field(OLD_FIELD, device="cpu")
    with np.load(OLD_FIELD / "expected.npz") as expected:
        assert field.distance(expected["points"]) == pytest.approx(expected["distance"], abs=1e-6)
        assert field.phase(expected["points"]) == pytest.approx(expected["phase"], abs=1e-6)
    config = field.config
    assert (config.model.width, config.train.lr_network, config.train.offsurface_points) == (24, 2e-3, 256)
    assert (config.loss.eikonal_norm, config.loss.directional_divergence) == ("l2", (10.0,))
    assert config.loss.laplacian == (100.0, 0.2, 100.0, 0.4, 0.0, 0.0)
    assert (config.medial.axis_width, config.medial.phase_start, config.medial.phase_freeze) == (0.02, 0.25, 0.7)
    assert (config.medial.cell_levels, config.train.seed, config.train.clip) == (2, 3, 100.0)
