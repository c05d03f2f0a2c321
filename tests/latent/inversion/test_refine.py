"""Refining a fitted code: detail of an unseen table on a frozen space, and the small file it is kept in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers import SMALL_MODEL, files_of

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.data.furniture import furniture
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.geometry.mesh import clean, load, normalize, save
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.latent.inversion.delta import Delta, Refined, fingerprint
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.latent.inversion.refine import Detail, observe_detail, refine
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace

FIT = InvertConfig(steps=60, starts=2, points=1024)
FAST = RefineConfig(steps=150, points=4096, resolution=128, band_voxels=4, lattice=32, sheet_thickness=1)


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    return ls.load(space_path, device="cpu")


@pytest.fixture(scope="module")
def unseen() -> trimesh.Trimesh:
    return furniture("table", 50)


@pytest.fixture(scope="module")
def fit(space: ShapeSpace, unseen: trimesh.Trimesh) -> Inversion:
    return space.invert(unseen, FIT)


@pytest.fixture(scope="module")
def refined(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> Inversion:
    return space.refine(fit, unseen, FAST)


def test_an_unseen_shape_gains_detail(space: ShapeSpace, unseen: trimesh.Trimesh) -> None:
    before, _ = evaluate(space, {"x": unseen}, unseen=True, resolution=64, points=20_000, inversion=FIT)
    after, _ = evaluate(space, {"x": unseen}, unseen=True, resolution=64, points=20_000, inversion=FIT, refinement=FAST)
    was, now = before.shapes["x"], after.shapes["x"]
    assert now.to_reference_mean < 0.3 * was.to_reference_mean and now.to_reference_mean < 0.004
    assert now.to_reconstruction_mean < 0.004
    assert now.f_scores[0.02] > 0.95


def test_the_space_and_its_shapes_stay_as_they_are(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    before = {name: value.clone() for name, value in space.model.state_dict().items()}
    mesh, codes = space.extract("table_0001", 64), space.codes.clone()
    space.extract(space.refine(fit, unseen, replace(FAST, steps=3)), 32)
    again = space.extract("table_0001", 64)
    assert np.array_equal(mesh.vertices, again.vertices) and np.array_equal(mesh.faces, again.faces)
    assert torch.equal(codes, space.codes)
    for name, value in space.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_every_use_takes_the_delta_along(space: ShapeSpace, fit: Inversion, refined: Inversion) -> None:
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for branch in ("general", "overfit"):
        assert not torch.equal(space.field(refined, branch)(points), space.field(fit, branch)(points))  # type: ignore[arg-type]
    band = space.band(refined)
    assert not torch.equal(band.contains(points), space.band(fit).contains(points))
    held = space.band(refined).contains(points)
    expected = torch.where(held, space.field(refined, "overfit")(points), space.field(refined, "general")(points))
    np.testing.assert_allclose(space.distance(refined, points.numpy()), expected.numpy(), atol=1e-6)


def test_the_corrected_general_branch_is_the_observed_distance_at_the_lattice(
    space: ShapeSpace, refined: Inversion, unseen: trimesh.Trimesh
) -> None:
    observed = observe_detail(unseen, normalize(clean(unseen)[0], space.normalization)[1], FAST).lattice
    axis = torch.linspace(-1, 1, FAST.lattice + 1)
    points = torch.cartesian_prod(axis, axis, axis)
    found = space.field(refined, "general")(points).numpy().reshape(observed.shape)
    clear = np.abs(observed) > 2 / FAST.lattice  # corners nearer may show a thin part
    near = clear & (np.abs(observed) < 0.1)
    np.testing.assert_allclose(found[near], observed[near], atol=1e-3)
    assert np.array_equal(found[clear] < 0, observed[clear] < 0)


def test_a_wall_thinner_than_a_lattice_cell_is_seen_by_the_general_branch() -> None:
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
    config = RefineConfig(steps=1, resolution=lattice, lattice=lattice)
    delta = refine(model, code, Detail(points, wall(points), wall(vertices)), config)
    at = Refined(delta, model, code)
    corners = torch.from_numpy(np.float32(vertices.reshape(-1, 3)))
    found = model.branch("general", corners[None], code[None])[0] + at.correction(corners)
    inside = found.reshape((lattice + 1,) * 3)[2:-2, 2:-2] < 0
    assert inside.any(-1).all() and int(inside.sum(-1).max()) == 1


def test_same_seed_same_delta(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    short = replace(FAST, steps=5)
    one, two, other = (space.refine(fit, unseen, c).delta for c in (short, short, replace(short, seed=1)))
    assert one is not None and two is not None and other is not None
    assert np.array_equal(one.features, two.features) and not np.array_equal(one.features, other.features)


def test_a_time_budget_ends_a_long_run(space: ShapeSpace, fit: Inversion, unseen: trimesh.Trimesh) -> None:
    endless = replace(FAST, steps=10**9, seconds=0.2)
    assert space.refine(fit, unseen, endless).delta is not None


def test_a_delta_survives_its_file(refined: Inversion, tmp_path: Path) -> None:
    delta = refined.delta
    assert delta is not None
    delta.save(tmp_path / "delta.npz")
    again = Delta.load(tmp_path / "delta.npz")
    assert (again.made_for, again.resolution) == (delta.made_for, delta.resolution)
    for name in ("rows", "features", "index", "correction"):
        assert np.array_equal(getattr(again, name), getattr(delta, name)), name
        assert getattr(again, name).dtype == getattr(delta, name).dtype, name
    read = delta.features.nbytes + delta.correction.nbytes
    assert (tmp_path / "delta.npz").stat().st_size < 1.05 * read + 2000
    assert [file.name for file in tmp_path.iterdir()] == ["delta.npz"]


def test_damaged_and_missing_files_are_named(refined: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "delta.npz"
    with pytest.raises(FileNotFoundError, match="no such delta; write one with `latentsdf invert --refine`"):
        Delta.load(path)
    assert refined.delta is not None
    refined.delta.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a delta", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ls.CheckpointError, match="damaged delta"):
            Delta.load(path)
    np.savez(path, rows=np.arange(3))
    with pytest.raises(ls.CheckpointError, match="damaged delta"):
        Delta.load(path)


def test_a_delta_of_another_space_or_code_is_refused(space: ShapeSpace, space_path: Path, refined: Inversion) -> None:
    other = ls.load(space_path, device="cpu")
    other.model.overfit.last.bias.add_(1e-3)
    with pytest.raises(ls.CheckpointError, match="refined for another space or another code"):
        other.extract(refined, 32)
    with pytest.raises(ls.CheckpointError, match="refined for another space or another code"):
        space.extract(replace(refined, layers=refined.layers + 1e-3), 32)
    with pytest.raises(ls.CheckpointError, match="refined for another space or another code"):
        space.extract(replace(refined, layers=None), 32)


def test_a_delta_of_nothing_changes_nothing(space: ShapeSpace, fit: Inversion) -> None:
    code = space.decoded_code(fit)
    rows, index = np.array([5, 7, 30_000]), np.array([0, 100])
    zero = Delta(fingerprint(space.model, code), rows, np.zeros((3, 8), np.float16), 16, index, np.zeros(2, np.float16))
    empty = Delta(zero.made_for, rows[:0], zero.features[:0], 16, index[:0], zero.correction[:0])
    plain = space.extract(fit, 64)
    for delta in (zero, empty):
        mesh = space.extract(replace(fit, delta=delta), 64)
        assert np.array_equal(mesh.vertices, plain.vertices) and np.array_equal(mesh.faces, plain.faces)


def test_what_cannot_be_refined_is_refused(
    space: ShapeSpace, unseen: trimesh.Trimesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ls.MeshError, match="refining needs distances all around a surface"):
        space.invert(unseen.sample(500), FIT, refinement=FAST)
    with pytest.raises(ls.ConfigError, match="the lattice of 48 must divide the band's resolution 128"):
        space.invert(unseen, FIT, refinement=replace(FAST, lattice=48))
    with pytest.raises(ls.ConfigError, match="steps must be at least 1, got 0"):
        space.invert(unseen, FIT, refinement=replace(FAST, steps=0))
    monkeypatch.setitem(space.model._modules, "grid", None)
    monkeypatch.setattr("latentsdf.space.invert", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(ls.ConfigError, match="a general branch alone"):
        space.invert(unseen, FIT, refinement=FAST)


def test_a_refined_folder_is_used_by_every_command(
    space_path: Path, unseen: trimesh.Trimesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "latentsdf.config.inversion.RefineConfig", lambda **given: replace(FAST, steps=20, seed=given["seed"])
    )
    save(unseen, tmp_path / "new.ply")
    before = files_of(space_path)
    space, folder, out = str(space_path), tmp_path / "fit", tmp_path / "again.ply"
    invert = ["invert", space, str(tmp_path / "new.ply"), "--out", str(folder), "--steps", "40", "--resolution", "32"]
    assert cli.main([*invert, "--refine"]) == 0
    assert cli.main(["extract", space, "--code", str(folder), "--resolution", "32", "--out", str(out)]) == 0
    written, again = load(folder / "mesh.ply"), load(out)
    assert np.array_equal(written.vertices, again.vertices)
    picture = tmp_path / "a.png"
    assert cli.main(["render", space, "--code", str(folder), "--size", "32", "--out", str(picture)]) == 0
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


def test_a_refinement_that_fails_is_named_in_the_evaluation(
    space: ShapeSpace, unseen: trimesh.Trimesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fit: Inversion, mesh: trimesh.Trimesh, _: RefineConfig) -> Inversion:
        if len(mesh.faces) == len(unseen.faces):
            raise ls.MeshError("no band")
        return fit

    monkeypatch.setattr(space, "refine", fail)
    references = {"bad": unseen, "good": trimesh.creation.box((1, 1, 1))}
    result, _ = evaluate(space, references, unseen=True, resolution=32, points=500, inversion=FIT, refinement=FAST)
    assert result.failed == {"bad": "refining: no band"} and set(result.shapes) == {"good"}
