"""`ls.preprocess` and `SampleStore.add`: shapes in memory and in files, in this process."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.files import files_of
from helpers.meshes import torus
from helpers.settings import SMALL_SAMPLING, small_config

import latentsdf as ls
from latentsdf.geometry.mesh import save
from preprocessing import __main__ as preprocess_command

RNG = np.random.default_rng(0)
ON_SPHERE = RNG.normal(size=(400, 3))
ON_SPHERE /= np.linalg.norm(ON_SPHERE, axis=1, keepdims=True)
IN_BOX = RNG.uniform(-1, 1, (5000, 3))
SIGNED = np.column_stack((IN_BOX, np.linalg.norm(IN_BOX, axis=1) - 0.6))


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a torus and a file that is not a mesh."""
    folder = tmp_path_factory.mktemp("meshes") / "round"
    save(torus(), folder / "torus.ply")
    (folder / "broken.ply").write_text("not a mesh")
    return folder.parent


def _shapes_of(store: Path) -> dict[str, bytes]:
    return {name: content for name, content in files_of(store).items() if name.startswith("shapes/")}


@pytest.mark.slow
def test_equality_with_command(meshes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder gives the store of `latentsdf-preprocess`, byte for byte; shapes by name that of the same keys."""
    sizes = ["--resolution", "64", "--band-voxels", "3", "--sparse-resolution", "32"]
    counts = ["--near", "4000", "--uniform", "4000", "--surface", "1000"]
    words = ["--source", str(meshes), "--out", str(tmp_path / "command.zarr"), *sizes, *counts, "--workers", "1"]
    assert preprocess_command.main(words) == 0
    store = ls.preprocess(meshes, tmp_path / "python.zarr", SMALL_SAMPLING)
    assert store.keys() == ["round/torus"]
    assert "round/broken: broken.ply: expected the word ply" in " ".join(capsys.readouterr().err.split())
    expected = _shapes_of(tmp_path / "command.zarr")
    assert expected and _shapes_of(store.path) == expected
    ls.preprocess({"round/torus": meshes / "round" / "torus.ply"}, tmp_path / "named.zarr", SMALL_SAMPLING)
    assert _shapes_of(tmp_path / "named.zarr") == expected


@pytest.mark.slow
def test_repeated_run(tmp_path: Path) -> None:
    """Present shapes are kept, changed ones are sampled again, and another seed is refused."""
    shapes = {"torus": torus(), "ball": trimesh.creation.icosphere(3)}
    store = ls.preprocess(shapes, tmp_path / "s.zarr", SMALL_SAMPLING)
    assert store.keys() == ["shape/ball", "shape/torus"]
    before = {key: (store.path / "shapes" / key).stat().st_ino for key in store}
    shapes["ball"] = trimesh.creation.icosphere(3, radius=2)
    ls.preprocess(shapes, tmp_path / "s.zarr", SMALL_SAMPLING)
    after = {key: (store.path / "shapes" / key).stat().st_ino for key in store}
    assert after["shape/torus"] == before["shape/torus"] and after["shape/ball"] != before["shape/ball"]
    with pytest.raises(ls.StoreError, match="expected shape/torus sampled with seed 3"):
        ls.preprocess(shapes, tmp_path / "s.zarr", SMALL_SAMPLING, seed=3)


def test_unusable_shapes(meshes: Path, tmp_path: Path) -> None:
    """Invalid names and selections are refused, and shapes that cannot be used raise if asked, or if none is left."""
    out = tmp_path / "s.zarr"
    with pytest.raises(ls.MeshError, match="broken.ply: expected the word ply"):
        ls.preprocess({"a": meshes / "round" / "broken.ply"}, out, SMALL_SAMPLING, strict=True)
    with pytest.raises(ls.MeshError, match="no shape could be used; the first one, shape/a: .*has no faces"):
        ls.preprocess({"a": trimesh.Trimesh()}, out, SMALL_SAMPLING)
    with pytest.raises(ls.ConfigError, match="'a/b/c' is not a valid name of a shape"):
        ls.preprocess({"a/b/c": torus()}, out, SMALL_SAMPLING)
    with pytest.raises(ls.ConfigError, match="pattern select meshes of a folder"):
        ls.preprocess({"a": torus()}, out, SMALL_SAMPLING, pattern="b*")


def test_settings_as_keywords(tmp_path: Path) -> None:
    """A sampling setting given as a keyword is refused with the right spelling."""
    with pytest.raises(ls.ConfigError, match=r"pass config=ls.SamplingConfig\(resolution=64, near=20\)"):
        ls.preprocess({"a": torus()}, tmp_path / "s.zarr", near=20, resolution=64)


@pytest.mark.slow
def test_added_mesh(meshes: Path, tmp_path: Path) -> None:
    """A mesh in memory and its file have the same samples, in a store that is created when needed."""
    store = ls.SampleStore(tmp_path / "new.zarr", SMALL_SAMPLING)
    info = store.add("round/torus", meshes / "round" / "torus.ply", seed=4)
    assert info.source == "torus.ply" and info.band_samples > 1000
    mesh = trimesh.load_mesh(meshes / "round" / "torus.ply", process=False)
    store.add("copy", mesh, seed=4)
    one, other = store.read("round/torus"), store.read("shape/copy")
    np.testing.assert_array_equal(one.samples.band_distance, other.samples.band_distance)
    assert one.similarity == other.similarity
    with pytest.raises(ls.StoreError, match=r"already has a shape 'shape/copy'; pass overwrite=True"):
        store.add("copy", mesh)
    store.add("copy", trimesh.creation.icosphere(3), overwrite=True)
    assert ls.SampleStore.open(store.path).info("shape/copy").source_sha256 != info.source_sha256


def test_added_points_and_signed_samples(tmp_path: Path) -> None:
    """Signed samples are kept as they are; points are normalized, with or without normals."""
    store = ls.SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.add("signed", SIGNED)
    samples = store.read("shape/signed").samples
    order = np.lexsort(samples.near.T)
    np.testing.assert_array_equal(
        samples.near[order], SIGNED.astype(np.float32)[np.lexsort(SIGNED.astype(np.float32).T)]
    )
    assert len(samples.band_index) == 0 and store.read("shape/signed").similarity.scale == 1
    store.add("points", 5 * ON_SPHERE + 3)
    store.add("oriented", np.hstack((5 * ON_SPHERE + 3, 2 * ON_SPHERE)))
    points, oriented = (store.read(f"shape/{name}").samples.surface for name in ("points", "oriented"))
    assert points.shape == (400, 3) and oriented.shape == (400, 6)
    np.testing.assert_allclose(np.linalg.norm(oriented[:, 3:], axis=1), 1, atol=1e-6)
    assert np.abs(points).max() <= 1


@pytest.mark.slow
def test_training_on_added_samples(tmp_path: Path) -> None:
    """A store of meshes and signed samples in one can be trained on."""
    store = ls.SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.add("signed", SIGNED)
    store.add("mesh", trimesh.creation.icosphere(3))
    space = ls.train(store, small_config(steps=2, points_per_shape=64), out=tmp_path / "space", device="cpu")
    assert space.ids == ["mesh", "signed"]


def test_unusable_additions(tmp_path: Path) -> None:
    """Errors name the shape, the expectation and what was given, and nothing is written."""
    store = ls.SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    for shape, message in (
        (SIGNED[:, [0, 1]], r"shape/a: expected a shape in 3D, got planar points \(5000, 2\)"),
        (SIGNED + np.array([0, 0, 0, 3]), "should be a signed distance"),
        (SIGNED * [3, 3, 3, 1], r"reach .*, outside \[-1, 1\]"),
        (np.full((200, 3), np.nan), "not finite"),
        (trimesh.Trimesh(), "has no faces"),
    ):
        with pytest.raises(ls.MeshError, match=message):
            store.add("a", shape)
    with pytest.raises(FileNotFoundError, match="none.ply: no such file"):
        store.add("a", tmp_path / "none.ply")
    with pytest.raises(ls.ConfigError, match="'..' is not a valid name"):
        store.add("..", SIGNED)
    assert store.keys() == []
