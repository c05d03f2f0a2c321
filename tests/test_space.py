"""`ShapeSpace` on four trained tables: frames, fields, codes, retrieval and errors."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.files import files_of
from scipy.spatial import cKDTree

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import load, save
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.lattice_codec import decode
from latentsdf.latent.inversion.observation import observe
from latentsdf.space import ShapeSpace


def test_mean_and_directions_match_code_distribution(space: ShapeSpace) -> None:
    """Mean, principal directions and code arithmetic agree with the training codes."""
    codes = space.codes.numpy()
    np.testing.assert_allclose(space.mean(), codes.mean(0), atol=1e-6)
    np.testing.assert_allclose(space.direction(0, [0.0])[0], space.mean(), atol=1e-6)
    first = np.linalg.svd(codes - codes.mean(0))[2][0]
    spread = space.direction(0, [-1.0, 1.0])
    assert abs(first @ (spread[1] - spread[0])) == pytest.approx(np.linalg.norm(spread[1] - spread[0]), rel=1e-4)
    terms = (1.0, "table_0001"), (-1.0, "table_0000"), (1.0, "table_0000")
    np.testing.assert_allclose(space.combine(*terms), space.code("table_0001").numpy(), atol=1e-5)


def test_samples_of_categories(space: ShapeSpace) -> None:
    """Samples are drawn per category, reproducibly, near the training codes; unknown categories are refused."""
    assert space.categories == {"table": 4}
    drawn = space.sample(6, seed=2, category="table")
    np.testing.assert_array_equal(drawn, space.sample(6, seed=2))
    assert not np.array_equal(drawn, space.sample(6, seed=3))
    codes = space.codes.numpy()
    assert np.abs(drawn - codes.mean(0)).max() < 6 * codes.std(0).max()
    with pytest.raises(ls.ConfigError, match="category: expected one of table, got str 'tabel'; did you mean 'table'"):
        space.sample(1, category="tabel")


@pytest.mark.slow
def test_band_cache_of_modified_array(trained_space: ShapeSpace) -> None:
    """The band is cached by value: an array changed in place has another band."""
    code = trained_space.code("table_0000").numpy().copy()
    first, again = trained_space.band(code), trained_space.band(code)
    code[:] = trained_space.code("table_0001")
    assert again is first and trained_space.band(code).cells.shape != first.cells.shape


@pytest.mark.slow
def test_extracted_mesh_frame(trained_space: ShapeSpace) -> None:
    """Training shapes are extracted in the frame of their original mesh."""
    original = furniture("table", 1)
    assert np.allclose(trained_space.extract("table_0001", 64).bounds, original.bounds, atol=0.04 * original.scale)


@pytest.mark.slow
def test_vertex_normals(space: ShapeSpace, tmp_path: Path) -> None:
    """Vertex normals match differences of the field in the frame of the shape, and survive mesh files."""
    way = Similarity((3.0, 0.0, -1.0), 0.5, 0.7)
    fit = ls.Inversion(space.code("table_0000").numpy(), np.zeros(1), 0.0, way)
    mesh = space.extract(fit, 32, normals=True)
    slope = np.stack(
        [
            space.field(fit, "overfit")(torch.from_numpy(mesh.vertices + step).float()).numpy()
            - space.field(fit, "overfit")(torch.from_numpy(mesh.vertices - step).float()).numpy()
            for step in 2e-3 * np.eye(3)
        ],
        axis=1,
    )
    along = (slope / np.linalg.norm(slope, axis=1, keepdims=True) * mesh.vertex_normals).sum(axis=1)
    assert np.median(along) > 0.999 and (along > 0.9).mean() > 0.75  # on creases differences mix both sides
    for suffix in (".ply", ".glb", ".obj"):
        save(mesh, tmp_path / f"a{suffix}")
        (again,) = trimesh.load_scene(tmp_path / f"a{suffix}", process=False).geometry.values()
        assert "vertex_normals" in again._cache
        _, same = cKDTree(mesh.vertices).query(again.vertices)
        np.testing.assert_allclose(again.vertex_normals, mesh.vertex_normals[same], atol=1e-4)
    assert "vertex_normals" not in space.extract(fit, 32)._cache


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_gradient_norm(trained_space: ShapeSpace) -> None:
    """The gradient norm equals central differences of the fused distance."""
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    steps = [step * axis for axis in np.eye(3) for step in (1e-3, -1e-3)]
    ends = [trained_space.distance("table_0000", points + step, frame="model") for step in steps]
    differences = (np.stack(ends[::2]).astype(float) - np.stack(ends[1::2])) / 2e-3
    found = trained_space.gradient_norm("table_0000", points, frame="model")
    wrong = np.abs(np.linalg.norm(differences, axis=0) - found)
    assert np.quantile(wrong, 0.9) < 0.02  # the difference may cross a kink or the boundary of the band
    with pytest.raises(ls.ConfigError, match=r"points must have shape \(N, 3\), got .*\(3,\)"):
        trained_space.gradient_norm("table_0000", np.zeros(3))


def test_index_of_space(space: ShapeSpace, space_path: Path) -> None:
    """The index of a space equals brute force."""
    codes = space.codes.numpy()
    hits = space.nearest("table_0003", k=4)
    distances = np.linalg.norm(codes - codes[3], axis=1)
    assert hits.ids == [space.ids[i] for i in distances.argsort()]
    assert np.allclose(hits.distances, np.sort(distances), atol=1e-5)
    assert ls.load(space_path, "cpu").nearest("table_0003", k=4) == hits


def test_interpolation_ends(space: ShapeSpace) -> None:
    """Paths start and end at the codes of their shapes."""
    for method in ("linear", "spherical"):
        path = space.interpolate("table_0000", "table_0001", "table_0002", steps=5, method=method)  # type: ignore[arg-type]
        for step, name in ((0, "table_0000"), (2, "table_0001"), (4, "table_0002")):
            assert np.allclose(path[step], space.code(name), atol=1e-5)


@pytest.mark.slow
def test_fused_distance(space: ShapeSpace) -> None:
    """The fused distance is s_o in the band and s_g elsewhere."""
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    general, overfit = (space.field("table_0000", branch, frame="model")(points) for branch in ("general", "overfit"))
    held = space.band("table_0000").contains(points)
    assert 0.01 < held.float().mean() < 0.3
    expected = torch.where(held, overfit, general).numpy()
    found = space.distance("table_0000", points.numpy(), frame="model")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_invalid_shapes_and_targets(space: ShapeSpace) -> None:
    """Unknown ids, invalid codes and unusable targets raise errors that state the expectation."""
    with pytest.raises(ls.ConfigError, match="no training shape 'table_001'.*did you mean table_000"):
        space.extract("table_001")
    with pytest.raises(ls.ConfigError, match=r"codes of length 8, got shape \(5,\)"):
        space.nearest(np.zeros(5))
    with pytest.raises(ls.ConfigError, match="not finite"):
        space.extract(np.full(8, np.nan))
    for array, message in (
        (np.zeros((3, 3)), "3 points are too few for a shape; at least 100"),
        (np.zeros((200, 3)), "only 1 of 200 points are different"),
        (np.full((200, 3), np.nan), "200 of 200 points are not finite"),
        (np.zeros((200, 5)), r"of shape \(200, 5\) is not clear"),
        (np.random.default_rng(0).normal(size=(200, 2)), "a shape space needs points in 3D, got planar points"),
        (np.random.default_rng(0).normal(size=(200, 4)), "column 3 .* should be a signed distance"),
        (
            np.pad(np.random.default_rng(0).normal(size=(200, 3)), ((0, 0), (0, 1))) + np.eye(200, 4),
            "should be a signed distance",
        ),
    ):
        with pytest.raises(ls.MeshError, match=message):
            observe(array)


def test_missing_faiss(space: ShapeSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FAISS, flat indices work, and the error of other kinds names the extra that installs it."""
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(space, "_indices", {})
    assert space.nearest("table_0000", 1).ids == ["table_0000"]
    with pytest.raises(ls.MissingExtraError, match=r"pip install 'latentsdf\[cpu\]'"):
        space.nearest("table_0000", kind="hnsw")


@pytest.mark.slow
def test_saved_fit(space: ShapeSpace, space_path: Path, tmp_path: Path) -> None:
    """A fit that Python saves is decoded by Python and by the command, and one of another space is refused."""
    fit = space.invert(furniture("table", 1), ls.InvertConfig(steps=3, starts=1, points=256))
    mesh = space.extract(fit, 32)
    fit.save(tmp_path / "fit", mesh=mesh)
    loaded = ls.load_fit(tmp_path / "fit", space.fingerprint)
    assert np.array_equal(space.extract(loaded, 32).vertices, mesh.vertices)
    out = tmp_path / "again.ply"
    words = ["extract", str(space_path), "--code", str(tmp_path / "fit"), "--resolution", "32", "--out", str(out)]
    assert cli.main([*words, "--device", "cpu"]) == 0
    np.testing.assert_allclose(load(out).vertices, load(tmp_path / "fit" / "mesh.ply").vertices)
    other = replace(loaded, space="another")
    for call in (space.code, space.extract, space.nearest):
        with pytest.raises(ls.CheckpointError, match="expected a fit of this space"):
            call(other)


def test_index_shared_by_command_and_python(space_path: Path, tmp_path: Path) -> None:
    """Python finds and removes codes that the command added to the index, and vice versa."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    space = ls.load(folder, "cpu")
    code = space.code("table_0001").numpy() + 1e-3
    np.save(tmp_path / "lamp.npy", code)
    command = ["retrieve", str(folder), "--device", "cpu"]
    assert cli.main([*command, "--add", str(tmp_path / "lamp.npy")]) == 0
    space = ls.load(folder, "cpu")
    assert space.nearest(code, 1).ids == ["lamp"]
    stool = code + 1e-3
    index = space.update_index(add={"stool": stool}, remove=["lamp"])
    assert index.ids == [*space.ids, "stool"]
    assert ls.load(folder, "cpu").nearest(stool, 1).ids == ["stool"]
    assert cli.main([*command, "--remove", "stool"]) == 0
    assert ls.load(folder, "cpu").index().ids == space.ids


def test_failed_update_of_index(space_path: Path, tmp_path: Path) -> None:
    """An update that fails halfway changes neither the saved index nor the next search."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    space = ls.load(folder, "cpu")
    space.update_index(add={"mine": space.mean()})
    before = files_of(folder)
    with pytest.raises(ls.ConfigError, match="'table_0000' is in the index with another code"):
        space.update_index(add={"table_0000": "table_0001"}, remove=["table_0001"])
    with pytest.raises(ls.ConfigError, match="no shape 'lamp'"):
        space.update_index(remove=["lamp"])
    assert files_of(folder) == before
    assert space.nearest("table_0001", 1).ids == ["table_0001"]


def test_invalid_samples(space: ShapeSpace) -> None:
    """A direction that does not exist and a count of zero samples are rejected."""
    with pytest.raises(ls.ConfigError, match="principal directions 0 to 7, got 8"):
        space.direction(8)
    with pytest.raises(ls.ConfigError, match="count must be at least 1"):
        space.sample(0)


def test_forms_of_a_code(space: ShapeSpace) -> None:
    """A row, a code (1, L), lists and tensors of any type name the same shape as the id; its frame is known by row."""
    code = space.code("table_0002")
    for shape in (2, np.int64(2), code[None], code.double().requires_grad_(), code.tolist(), [code.tolist()]):
        assert torch.equal(space.code(shape), code)
    assert space.similarity(2) == space.similarity("table_0002")
    assert space.similarity(code[None]) == Similarity((0.0, 0.0, 0.0), 1.0)
    for row in (1, np.int64(1), np.array(1), torch.tensor(1)):
        assert torch.equal(space.code(row), space.code("table_0001"))
        assert space.similarity(row) == space.similarity("table_0001")
    path = np.asarray(space.interpolate("table_0000", "table_0002", steps=3))
    codes = space.codes[[0, 2]]
    for shapes in (["table_0000", "table_0002"], [0, 2], codes, codes.numpy(), (codes[0], "table_0002")):
        np.testing.assert_allclose(space.interpolate(shapes, steps=3), path, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, "expected a shape: the id or the row .*, got None"),
        (4, "rows of training shapes are 0 to 3, got 4"),
        (-1, "rows of training shapes are 0 to 3, got -1"),
        (torch.tensor(4), "rows of training shapes are 0 to 3, got 4"),
        (True, "expected a shape: .*, got bool True"),
        (torch.tensor(True), "expected a shape: .*, got Tensor"),
        (0.5, r"codes of length 8, got shape \(\)"),
        (["table_0000", "table_0001"], "expected one shape, got list of length 2; pass one of them at a time"),
        (np.zeros((4, 8)), r"expected one code of length 8, got shape \(4, 8\); pass one row at a time"),
        (np.zeros((2, 1, 8)), r"codes of length 8, got shape \(2, 1, 8\)"),
        (np.full(8, 1e300), "not finite as float32"),
        (Path("fit"), "expected a shape: .*, got PosixPath"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_objects_that_are_no_code(space: ShapeSpace, shape: object, message: str) -> None:
    """Every method refuses what is not a shape, with what came; none falls back to model space."""
    for call in (space.code, space.similarity, space.extract, space.nearest):
        with pytest.raises(ls.ConfigError, match=message):
            call(shape)


def test_forms_of_a_target(space: ShapeSpace, tmp_path: Path) -> None:
    """A mesh, a scene, a file and a pair of the same shape give the same observation."""
    mesh = furniture("table", 1)
    save(mesh, tmp_path / "table.ply")
    expected = space.observe(mesh)
    for target in (trimesh.Scene([mesh]), (mesh.vertices, mesh.faces), str(tmp_path / "table.ply")):
        observation = space.observe(target)
        np.testing.assert_allclose(observation.points, expected.points, atol=1e-5)
        np.testing.assert_allclose(observation.low, expected.low, atol=1e-4)
        assert observation.similarity.scale == pytest.approx(expected.similarity.scale, rel=1e-6)
    points, face = trimesh.sample.sample_surface(mesh, 500, seed=0)
    normals = mesh.face_normals[face]
    expected = space.observe(np.hstack((points, normals)), partial=True)
    for observation in (
        space.observe(points, 3 * normals, partial=True),
        space.observe((points, normals), partial=True),
    ):
        np.testing.assert_array_equal(observation.low, expected.low)


def test_id_as_target(space: ShapeSpace) -> None:
    """The id of a training shape is no target; the error says what to pass instead."""
    with pytest.raises(FileNotFoundError, match=r"id of a training shape.*pass extract\('table_0001'\)"):
        space.observe("table_0001")


@pytest.mark.usefixtures("without_shape_checks")
def test_keywords_of_fits(space: ShapeSpace) -> None:
    """Settings are keywords of `invert` and replace those of the configuration, which may be the second argument."""
    target = space.observe(furniture("table", 1))
    config = ls.InvertConfig(steps=2, starts=1, points=64, by_layer=False)
    expected = space.invert(target, config)
    assert np.array_equal(space.invert(target, config=config).code, expected.code)
    keywords = space.invert(target, steps=2, starts=1, points=64, by_layer=False)
    assert np.array_equal(keywords.code, expected.code) and len(keywords.history) == len(expected.history)
    assert len(space.invert(target, config, steps=1).history) < len(expected.history)
    for options, message in (
        ({"step": 2}, "unknown setting 'step' of InvertConfig; did you mean 'steps'?"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"config": config, "normals": config}, "got two configurations"),
        ({"normals": np.zeros((3, 3))}, "the target is an Observation"),
    ):
        with pytest.raises(ls.LatentSDFError, match=message):
            space.invert(target, **options)
    for targets in (target, "a.obj", np.zeros((200, 3)), (np.zeros((200, 3)), np.zeros((200, 3))), None):
        with pytest.raises(ls.MeshError, match="expected a list of targets, got .*; fit a single target with `invert`"):
            space.invert_many(targets)


@pytest.mark.slow
def test_refinement_of_every_kind_of_mesh(space: ShapeSpace, tmp_path: Path) -> None:
    """A fit is refined with the file of its mesh as with the mesh; points are refused."""
    mesh = furniture("table", 1)
    save(mesh, tmp_path / "table.ply")
    fit = space.invert(mesh, steps=1, starts=1, points=64, by_layer=False)
    options = {"resolution": 64}
    expected = space.refine(fit, mesh, ls.RefineConfig(**options)).delta
    for target in (str(tmp_path / "table.ply"), trimesh.Scene([mesh])):
        delta = space.refine(fit, target, **options).delta
        np.testing.assert_allclose(decode(delta.lattice), decode(expected.lattice), atol=1e-3)
    with pytest.raises(ls.MeshError, match="refinement needs a mesh with faces, got points"):
        space.refine(fit, trimesh.sample.sample_surface(mesh, 500, seed=0)[0])
