"""Refinement of a fitted code: detail of an unseen table on a frozen space, and the file of the delta."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.files import files_of
from helpers.settings import FIT, LEARNED, REFINEMENT, SMALL_MODEL

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.inversion import RefineConfig
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.geometry.mesh import clean, load, normalize, save
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.latent.inversion.compact_delta import CompactDelta
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.deltas import apply_delta
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.latent.inversion.refine import Detail, observe_detail, refine
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace


@pytest.mark.slow
@pytest.mark.parametrize("refinement", [REFINEMENT, LEARNED], ids=["compressed", "learned"])
def test_unseen_shape(trained_space: ShapeSpace, unseen: trimesh.Trimesh, refinement: RefineConfig) -> None:
    """Refinement reduces the Chamfer distance of an unseen shape to less than 30 %."""
    before, _ = evaluate(trained_space, {"x": unseen}, unseen=True, resolution=64, points=20_000, inversion=FIT)
    after, _ = evaluate(
        trained_space, {"x": unseen}, unseen=True, resolution=64, points=20_000, inversion=FIT, refinement=refinement
    )
    was, now = before.shapes["x"], after.shapes["x"]
    assert now.to_reference_mean < 0.3 * was.to_reference_mean and now.to_reference_mean < 0.004
    assert now.to_reconstruction_mean < 0.004
    assert now.f_scores[0.01] > 0.95


def test_budget(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh, tmp_path: Path) -> None:
    """The file is within its budget, a larger budget lowers the error, and one that is too small is refused."""
    residuals = []
    for budget in (3.5, 5, 64):
        refined = space.refine(fit, unseen, REFINEMENT, budget_kb=budget)
        assert isinstance(refined.delta, CompactDelta)
        refined.delta.save(tmp_path / "delta.npz")
        assert (tmp_path / "delta.npz").stat().st_size <= 1000 * budget
        residuals.append(refined.residual)
    assert residuals[0] > residuals[1] > residuals[2]
    with pytest.raises(ls.ConfigError, match=r"budget_kb: 1.6 kB are too small .*; expected at least [23]\.\d, or 0"):
        space.refine(fit, unseen, REFINEMENT, budget_kb=1.6)


@pytest.mark.slow
def test_gradients_of_compressed_detail(space: ShapeSpace, fit: Inversion, refined: Inversion) -> None:
    """By the code, a refined shape has the gradient of its decoded shape."""
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    code = space.decoded_code(fit).clone().requires_grad_()
    gradients = []
    for delta in (None, refined.delta):
        shape = DecodedShape(space.model, code, delta, band_voxels=3.0)
        gradients.append(torch.autograd.grad(shape.field("general")(points).sum(), code)[0])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


@pytest.mark.slow
def test_residual(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    """The residual of a refined fit is the error of its field near the surface, and decides whether it fits."""
    refined = space.refine(fit, unseen, REFINEMENT)
    detail = observe_detail(unseen, fit.similarity, REFINEMENT)
    error = np.abs(space.distance(refined, detail.points, frame="model") - detail.distance).mean()
    assert refined.residual == pytest.approx(error, rel=0.05)
    assert refined.residual < 0.5 * fit.residual and refined.ok


@pytest.mark.slow
def test_space_after_refinement(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    """Refinement does not change the model, the codes or the training shapes."""
    before = {name: value.clone() for name, value in space.model.state_dict().items()}
    mesh, codes = space.extract("table_0001", 64), space.codes.clone()
    for refinement in (REFINEMENT, replace(LEARNED, steps=3)):
        space.extract(space.refine(fit, unseen, refinement), 32)
    again = space.extract("table_0001", 64)
    assert np.array_equal(mesh.vertices, again.vertices) and np.array_equal(mesh.faces, again.faces)
    assert torch.equal(codes, space.codes)
    for name, value in space.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refined", "learned"])
def test_fields_of_refined_fit(space: ShapeSpace, fit: Inversion, kind: str, request: pytest.FixtureRequest) -> None:
    """Branches, band and fused distance include the delta."""
    refined = request.getfixturevalue(kind)
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for branch in ("general", "overfit"):
        plain, detailed = (space.field(one, branch, frame="model")(points) for one in (fit, refined))  # type: ignore[arg-type]
        assert not torch.equal(detailed, plain)
    band = space.band(refined)
    assert not torch.equal(band.contains(points), space.band(fit).contains(points))
    held = space.band(refined).contains(points)
    general, overfit = (space.field(refined, branch, frame="model")(points) for branch in ("general", "overfit"))
    found = space.distance(refined, points.numpy(), frame="model")
    np.testing.assert_allclose(found, torch.where(held, overfit, general).numpy(), atol=1e-6)


def test_corrected_general_branch(space: ShapeSpace, learned: Inversion, unseen: trimesh.Trimesh) -> None:
    """The corrected general branch equals the observed distances at the lattice vertices."""
    observed = observe_detail(unseen, normalize(clean(unseen)[0], space.normalization)[1], LEARNED).lattice
    axis = torch.linspace(-1, 1, LEARNED.lattice + 1)
    points = torch.cartesian_prod(axis, axis, axis)
    found = space.field(learned, "general", frame="model")(points).numpy().reshape(observed.shape)
    clear = np.abs(observed) > 2 / LEARNED.lattice  # corners nearer may show a thin part
    near = clear & (np.abs(observed) < 0.1)
    np.testing.assert_allclose(found[near], observed[near], atol=1e-3)
    assert np.array_equal(found[clear] < 0, observed[clear] < 0)


@pytest.mark.slow
@pytest.mark.parametrize("budget_kb", [0, 64])
def test_wall_thinner_than_cell(budget_kb: float) -> None:
    """A wall between two layers of lattice vertices gives the general branch a sign change."""
    torch.manual_seed(0)
    model, code = LatentSDF(SMALL_MODEL).requires_grad_(False), torch.zeros(8)
    lattice, height, half = 16, 0.06, 0.01  # the wall lies between the vertices at 0 and 0.125

    def wall(points: np.ndarray) -> np.ndarray:
        return np.float32(np.maximum(np.abs(points[..., 2] - height) - half, np.abs(points).max(-1) - 0.9))

    axis = np.linspace(-1, 1, lattice + 1)
    vertices = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    points = np.random.default_rng(0).uniform(-1, 1, (400_000, 3)).astype(np.float32)
    points[:, 2] = height + 0.04 * points[:, 2]
    assert (wall(vertices) > 0).all()
    detail = Detail(points, wall(points), wall(vertices))
    config = RefineConfig(budget_kb=budget_kb, steps=1, resolution=lattice, lattice=lattice)
    delta = refine(model, code, detail, config)
    corners = torch.from_numpy(np.float32(vertices.reshape(-1, 3)))
    found = apply_delta(delta, model, code).distance("general", corners, code)
    inside = found.reshape((lattice + 1,) * 3)[2:-2, 2:-2] < 0
    assert inside.any(-1).all() and int(inside.sum(-1).max()) == 1


@pytest.mark.slow
def test_determinism(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    """The same seed gives the same delta."""
    short = replace(LEARNED, steps=5)
    one, two, other = (space.refine(fit, unseen, c).delta for c in (short, short, replace(short, seed=1)))
    assert isinstance(one, Delta) and isinstance(two, Delta) and isinstance(other, Delta)
    assert np.array_equal(one.features, two.features) and not np.array_equal(one.features, other.features)


@pytest.mark.slow
def test_time_budget(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    """The wall-clock budget ends the optimization."""
    endless = replace(LEARNED, steps=10**9, seconds=0.2)
    assert space.refine(fit, unseen, endless).delta is not None


def test_invalid_refinements(space: ShapeSpace, unseen: trimesh.Trimesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets, settings and models that cannot be refined are refused before any fit."""
    with pytest.raises(ls.MeshError, match="refinement needs distances all around a surface"):
        space.invert(unseen.sample(500), FIT, refinement=REFINEMENT)
    with pytest.raises(ls.ConfigError, match="lattice must divide resolution, got 48 and 128"):
        space.invert(unseen, FIT, refinement=replace(LEARNED, lattice=48))
    with pytest.raises(ls.ConfigError, match="steps must be at least 1, got 0"):
        space.invert(unseen, FIT, refinement=replace(LEARNED, steps=0))
    monkeypatch.setitem(space.model._modules, "grid", None)
    monkeypatch.setattr("latentsdf.space.invert", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(ls.ConfigError, match="only a general branch"):
        space.invert(unseen, FIT, refinement=LEARNED)


@pytest.mark.slow
def test_commands_with_refined_fit(
    space_path: Path, unseen: trimesh.Trimesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands decode the delta of a fit folder, reject one without its delta, and remove an outdated one."""
    monkeypatch.setattr("latentsdf.config.inversion.RefineConfig", lambda **given: replace(REFINEMENT, **given))
    save(unseen, tmp_path / "new.ply")
    before = files_of(space_path)
    space, folder, out = str(space_path), tmp_path / "fit", tmp_path / "again.ply"
    invert = ["invert", space, str(tmp_path / "new.ply"), "--out", str(folder), "--steps", "40", "--resolution", "32"]
    assert cli.main([*invert, "--refine"]) == 0
    assert cli.main(["extract", space, "--code", str(folder), "--resolution", "32", "--out", str(out)]) == 0
    written, again = load(folder / "mesh.ply"), load(out)
    assert np.array_equal(written.vertices, again.vertices)
    image = tmp_path / "a.png"
    assert cli.main(["render", space, "--code", str(folder), "--size", "32", "--out", str(image)]) == 0
    (folder / "delta.npz").rename(tmp_path / "away.npz")
    assert cli.main(["extract", space, "--code", str(folder), "--resolution", "32", "--out", str(out)]) == 2
    (tmp_path / "away.npz").rename(folder / "delta.npz")
    assert cli.main(invert) == 0
    assert not (folder / "delta.npz").exists()
    plain = load(folder / "mesh.ply")
    assert (
        compare_surfaces(again, unseen, 2000).to_reference_mean
        < compare_surfaces(plain, unseen, 2000).to_reference_mean
    )
    assert {n: b for n, b in files_of(space_path).items() if n in before and "index" not in n} == {
        n: b for n, b in before.items() if "index" not in n
    }
    evaluate = ["evaluate", space, "--meshes", str(tmp_path), "--refine"]
    assert cli.main(evaluate) == 2
