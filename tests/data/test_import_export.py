"""Exchange: a store to HDF5 and back, DeepSDF's npz to a store and through training, files of another layout."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import SMALL_SAMPLING, small_config
from numpy.typing import NDArray

from latentsdf import cli
from latentsdf.data import import_export, sdf_batches
from latentsdf.data.furniture import furniture
from latentsdf.data.import_export import export_samples, import_samples
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.space import load
from latentsdf.training.train import train
from latentsdf.utils.errors import ConfigError, StoreError

RADIUS = 0.6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """A lamp under three keys, two of which share their id."""
    store = SampleStore.create(tmp_path_factory.mktemp("data") / "s.zarr", SMALL_SAMPLING)
    mesh, similarity = normalize(furniture("lamp", 0))
    samples = sample(mesh, SMALL_SAMPLING, 0)
    record = ShapeRecord(
        category="lamp",
        id="a",
        samples=samples,
        similarity=similarity,
        source="a.obj",
        source_sha256="0f",
        watertight=True,
        area=float(mesh.area),
        seed=7,
    )
    for category, id in (("lamp", "a"), ("lamp", "b.1"), ("стул", "a")):
        store.write(replace(record, category=category, id=id))
    return store


@pytest.fixture
def exported(store: SampleStore, tmp_path: Path) -> Path:
    path = tmp_path / "s.h5"
    export_samples(store, path)
    return path


def _sorted(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_a_store_comes_back_equal(store: SampleStore, tmp_path: Path, compression: import_export.Compression) -> None:
    path, out = tmp_path / "new" / "s.h5", tmp_path / "t.zarr"
    assert export_samples(store, path, compression=compression) == store.keys()
    assert import_samples(path, out).imported == store.keys()
    back = SampleStore.open(out)
    assert back.config == store.config and back.keys() == store.keys()
    for key in store:
        one, two = store.read(key), back.read(key)
        for name in ("band_index", "band_distance", "sparse_distance"):
            assert np.array_equal(getattr(one.samples, name), getattr(two.samples, name))
        for name in ("near", "uniform", "surface"):
            assert np.array_equal(_sorted(getattr(one.samples, name)), _sorted(getattr(two.samples, name)))
        assert one.samples.sign == two.samples.sign
        assert replace(one, samples=two.samples) == two
        back.verify(key)
    assert os.listdir(path.parent) == ["s.h5"]


def test_the_file_explains_itself(exported: Path, store: SampleStore) -> None:
    """What another program needs: settings in the root, plain arrays, the vertices where the docstring says."""
    with h5py.File(exported) as file:
        assert file.attrs["format"] == "latentsdf-samples" and file.attrs["version"] == 1
        assert {name: file.attrs[name] for name in asdict(store.config)} == asdict(store.config)
        group, record = file["lamp/b.1"], store.read("lamp/b.1")
        assert tuple(group.attrs["center"]) == record.similarity.center
        assert group.attrs["scale"] == record.similarity.scale and group.attrs["watertight"]
        side = file.attrs["resolution"] + 1
        index = group["band_index"][:].astype(np.int64)
        vertex = np.stack([index // side**2, index // side % side, index % side], axis=1)
        points = -1 + 2 * vertex / file.attrs["resolution"]
        assert np.allclose(points, lattice_points(record.samples.band_index, side - 1), atol=1e-6)
        assert group["band_distance"].dtype == np.float32 and group["near"].fletcher32


def test_shapes_are_chosen_by_id_and_continued(store: SampleStore, exported: Path, tmp_path: Path) -> None:
    assert export_samples(store, tmp_path / "one.h5", ["b.1", "lamp/a", "b.1"]) == ["lamp/b.1", "lamp/a"]
    out = tmp_path / "t.zarr"
    assert import_samples(tmp_path / "one.h5", out, pattern="b*").imported == ["lamp/b.1"]
    report = import_samples(exported, out, categories=["lamp"])
    assert report.imported == ["lamp/a"] and report.present == 1
    assert import_samples(exported, out, overwrite=True).imported == store.keys()
    with pytest.raises(ConfigError, match="has several shapes 'a': lamp/a, стул/a; name one as category/id"):
        export_samples(store, tmp_path / "two.h5", ["a"])
    with pytest.raises(ConfigError, match="has no shape 'zz'"):
        export_samples(store, tmp_path / "two.h5", ["zz"])
    with pytest.raises(StoreError, match="made with other settings: near"):
        import_samples(exported, SampleStore.create(tmp_path / "u.zarr", replace(SMALL_SAMPLING, near=1)).path)


def test_an_export_that_fails_leaves_the_old_file(
    store: SampleStore, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(import_export, "_write_group", full)
    with pytest.raises(StoreError, match="s.h5: cannot be written .No space left on device"):
        export_samples(store, exported)
    assert exported.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["s.h5"]
    with pytest.raises(ConfigError, match="is a folder; name an HDF5 file"):
        export_samples(store, tmp_path)
    empty = SampleStore.create(tmp_path / "e.zarr", SMALL_SAMPLING)
    with pytest.raises(StoreError, match="holds no shapes to export"):
        export_samples(empty, tmp_path / "e.h5")


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        ("near", np.zeros((5, 3), np.float32), r"expected near of float32 .5, 4., got float32 .5, 3."),
        ("near", np.full((5, 4), np.nan, np.float32), "near holds values that are not finite"),
        ("band_index", np.full(1, 2**31, np.uint32), "expected band_distance of float32 .1,."),
        ("sparse_distance", np.zeros((3, 3, 3), np.float32), r"expected sparse_distance of float32 .33, 33, 33."),
        ("surface", None, "is damaged .*surface.*; export it again"),
    ],
)
def test_a_shape_that_is_not_sound_is_named_and_skipped(
    exported: Path, tmp_path: Path, array: str, values: NDArray[np.float32] | None, message: str
) -> None:
    with h5py.File(exported, "a") as file:
        del file["lamp/a"][array]
        if values is not None:
            file["lamp/a"][array] = values
    report = import_samples(exported, tmp_path / "t.zarr")
    assert report.imported == ["lamp/b.1", "стул/a"] and list(report.failed) == ["lamp/a"]
    with pytest.raises(StoreError, match=message):
        raise StoreError(report.failed["lamp/a"])


def test_band_values_outside_lattice_or_width_are_refused(exported: Path, tmp_path: Path) -> None:
    with h5py.File(exported, "a") as file:
        file["lamp/a/band_index"][-1] = 65**3
        file["lamp/b.1/band_distance"][0] = 0.2
    failed = import_samples(exported, tmp_path / "t.zarr").failed
    assert "band_index names vertices outside the lattice of 64 cells an axis" in failed["lamp/a"]
    assert "band_distance exceeds 3.0 cells of 64" in failed["lamp/b.1"]


def test_a_flipped_byte_is_found(exported: Path, tmp_path: Path) -> None:
    with h5py.File(exported) as file:
        place = file["lamp/a/near"].id.get_chunk_info(0).byte_offset
    content = bytearray(exported.read_bytes())
    content[place + 100] ^= 0xFF
    exported.write_bytes(bytes(content))
    failed = import_samples(exported, tmp_path / "t.zarr").failed
    assert list(failed) == ["lamp/a"] and "s.h5: lamp/a is damaged" in failed["lamp/a"]


def test_other_hdf5_files_are_refused(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.zarr"
    with pytest.raises(FileNotFoundError, match="no such HDF5 file, nor a folder of npz files"):
        import_samples(tmp_path / "none.h5", out)
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(StoreError, match="text.h5: is no HDF5 file, or it is cut off"):
        import_samples(tmp_path / "text.h5", out)
    with h5py.File(exported, "a") as file:
        file.attrs["version"] = 9
    with pytest.raises(StoreError, match="version 9, this latentsdf reads version 1"):
        import_samples(exported, out)
    with h5py.File(exported, "a") as file:
        del file.attrs["format"]
    with pytest.raises(StoreError, match="not a file that latentsdf export wrote; meshes and D-FAUST"):
        import_samples(exported, out)
    assert not out.exists()


def test_a_shape_without_a_sample_near_it_is_named_before_training(store: SampleStore, tmp_path: Path) -> None:
    far = SampleStore.create(tmp_path / "t.zarr", SMALL_SAMPLING)
    record = store.read("lamp/a")
    none = {"band_index": np.empty(0, np.uint32), "band_distance": np.empty(0, np.float32)}
    there = np.ones((9, 4), np.float32)
    far.write(replace(record, samples=replace(record.samples, near=there, uniform=there, **none)))
    with pytest.raises(StoreError, match="shape 'lamp/a' has neither a band nor a sample within 0.0938 of it"):
        sdf_batches.load(far, "lamp/a", 1.0, "even", np.random.default_rng(0))


def _write_npz(path: Path, radius: float = RADIUS, scale: float = 1.0) -> None:
    """Samples of a sphere as DeepSDF writes them: near its surface, some anywhere, a row of NaN."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = np.concatenate([direction * rng.normal(radius, 0.03, (4000, 1)), rng.uniform(-1, 1, (500, 3))]) * scale
    distance = np.linalg.norm(points, axis=1) - radius * scale
    rows = np.column_stack([points, distance]).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    pos = np.vstack([rows[distance >= 0], np.full((1, 4), np.nan, np.float32)])
    np.savez(path, pos=pos, neg=rows[distance < 0])


@pytest.fixture
def deepsdf(tmp_path: Path) -> Path:
    """A DeepSDF data folder: two spheres, and the files DeepSDF keeps beside its samples."""
    root = tmp_path / "data"
    for name in ("aa", "bb"):
        _write_npz(root / "SdfSamples" / "ShapeNetV2" / "04256520" / f"{name}.npz")
    other = root / "NormalizationParameters" / "ShapeNetV2" / "04256520"
    other.mkdir(parents=True)
    np.savez(other / "aa.npz", offset=np.zeros(3), scale=1.0)
    return root


def test_samples_of_deepsdf_train(deepsdf: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    assert import_samples(deepsdf, out).imported == ["04256520/aa", "04256520/bb"]
    store = SampleStore.open(out)
    near, uniform = store.offsurface_samples("04256520/aa")
    assert len(near) == 4500 and len(uniform) == 0 and len(store.band("04256520/aa")[0]) == 0
    assert np.allclose(np.linalg.norm(near[:, :3], axis=1) - RADIUS, near[:, 3], atol=1e-6)
    store.verify("04256520/aa")
    rng = np.random.default_rng(0)
    shapes = [sdf_batches.load(store, key, 1.0, "even", rng) for key in ("04256520/aa", "04256520/bb")]
    batch = sdf_batches.draw(shapes, [0, 1], (1000, 500, 0, 0), store.config.resolution, "even", [rng, rng])
    assert batch.band_points.shape == (2, 1000, 3) and batch.free_points.shape == (2, 500, 3)
    assert batch.band_distance.abs().max() <= 6 * 2 / 512
    assert batch.band_distance.std() > 0.005 and batch.free_distance.abs().max() > 0.1
    export_samples(store, tmp_path / "s.h5")
    assert import_samples(tmp_path / "s.h5", tmp_path / "t.zarr").imported == store.keys()
    back = SampleStore.open(tmp_path / "t.zarr").offsurface_samples("04256520/aa")[0]
    assert np.array_equal(_sorted(back), _sorted(near))

    metrics = train(out, tmp_path / "space", small_config(steps=100, points_per_shape=512, shapes_per_batch=2))
    assert metrics["overfit"] < 0.003
    mesh = load(tmp_path / "space", device="cpu").extract("aa", 64, "general")
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS).mean() < 0.01


def test_npz_files_by_split_and_from_any_folder(deepsdf: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"ShapeNetV2": {"04256520": ["bb"]}}))
    classes = deepsdf / "SdfSamples" / "ShapeNetV2"
    assert import_samples(classes, tmp_path / "s.zarr", split=split).imported == ["04256520/bb"]
    assert import_samples(classes / "04256520", tmp_path / "s.zarr", categories=["sofa"]).imported == ["04256520/aa"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="expected DeepSDF samples <class>/<id>.npz, or point clouds"):
        import_samples(tmp_path / "empty", tmp_path / "s.zarr")


def test_npz_files_of_another_content_are_named_and_skipped(deepsdf: Path, tmp_path: Path) -> None:
    folder = deepsdf / "SdfSamples" / "ShapeNetV2" / "04256520"
    one, none = np.full((1, 4), 0.01, np.float32), np.empty((0, 4), np.float32)
    np.savez(folder / "names.npz", offset=one)
    np.savez(folder / "shape.npz", pos=one[:, :3], neg=none)
    np.savez(folder / "sign.npz", pos=-one, neg=one)
    np.savez(folder / "far.npz", pos=one + 0.5, neg=none)
    np.savez(folder / "nan.npz", pos=one * np.nan, neg=none)
    _write_npz(folder / "large.npz", radius=0.9, scale=20)
    (folder / "text.npz").write_text("no")
    report = import_samples(deepsdf, tmp_path / "s.zarr")
    assert report.imported == ["04256520/aa", "04256520/bb"]
    reasons = {key.partition("/")[2]: reason for key, reason in report.failed.items()}
    assert reasons["names"].startswith("names.npz: expected arrays pos and neg (N, 4), but they cannot be read")
    assert reasons["text"].startswith("text.npz: expected arrays pos and neg (N, 4), but they cannot be read")
    assert reasons["shape"] == "shape.npz: expected pos (N, 4) of floats, got float32 (1, 3)"
    assert reasons["sign"] == "sign.npz: expected distances >= 0 in pos and <= 0 in neg, got others"
    assert reasons["far"] == "far.npz: none of its 1 samples is within 0.0234 of the surface"
    assert reasons["nan"] == "nan.npz: none of its 0 samples is within 0.0234 of the surface"
    assert reasons["large"].startswith("large.npz: samples at the surface reach 18, outside [-1, 1]; sample the shape")


def test_the_commands(store: SampleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "s.h5", tmp_path / "t.zarr"
    words = ["export", str(store.path), str(path), "--id", "b.1", "--id", "lamp/a", "--compression", "lzf", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["shapes"] == ["lamp/b.1", "lamp/a"]
    assert cli.main(["import", str(path), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported"] == ["lamp/a", "lamp/b.1"]
    with h5py.File(path, "a") as file:
        for name in ("a", "b.1"):
            del file["lamp"][name]["near"]
    assert cli.main(["import", str(path), str(tmp_path / "u.zarr")]) == 2
    assert cli.main(["info", str(out), "--verify"]) == 0
    assert cli.main(["export", str(store.path), str(path), "--id", "zz"]) == 2
