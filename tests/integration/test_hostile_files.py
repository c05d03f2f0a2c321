"""Stores, spaces, fits, splits, configurations and HDF5 files from somebody else: refused by name, without harm."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh
import zarr
from helpers.artifacts import CONFIG, FIELD, field, refined_fit, write_space
from helpers.files import change_metadata, files_of, renew_manifest
from helpers.settings import SMALL_SAMPLING
from zarr.codecs import BloscCodec, Crc32cCodec

import latentsdf as ls
from latentsdf import cli
from latentsdf.config import loader
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.training import Config
from latentsdf.data import dfaust, hdf5
from latentsdf.data.import_export import export_samples
from latentsdf.data.mesh_datasets import ShapeFile, select_shapes
from latentsdf.data.store import SampleStore
from latentsdf.latent.inversion.fit_folder import load_code, load_fits
from latentsdf.training import checkpoint
from latentsdf.training.logger import open_training_logger
from latentsdf.utils.artifacts import write_artifact
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.numpy_files import parse_npy, parse_npz
from latentsdf.utils.shape_ids import is_id, is_key, key_part

IDS = ["", ".", "..", "../x", "a/../b", "/etc/x", "a\\b", "a\0b", "a\nb", "\x1b[31m", "a:b", "__a", ".a", "zarr.json"]
IDS += ["\ud800", "a" * 300, 'a"b', "a|b", "C:x"]
"""Names that are no ids."""


@pytest.fixture
def store(lamp_store: SampleStore, tmp_path: Path) -> SampleStore:
    """Store of three lamps, which a test may modify."""
    shutil.copytree(lamp_store.path, tmp_path / "s.zarr")
    return SampleStore.open(tmp_path / "s.zarr")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Folder that must not change."""
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    (tmp_path / "outside" / "inner" / "file").write_text("kept")
    return tmp_path / "outside"


def _is_untouched(outside: Path) -> bool:
    return files_of(outside) == {"inner/file": b"kept"}


# ids


@pytest.mark.parametrize("name", IDS)
def test_id_rule(name: str) -> None:
    """Names that could leave a folder, hide a file or drive a terminal are neither ids nor parts of keys."""
    assert (not is_id(name) and not is_key(f"chair/{name}") and not is_key(f"{name}/a")) or name == "zarr.json"
    assert not is_key(name)
    if name != "\ud800":  # not in names of files
        assert is_id(key_part(name)) or name in ("", "zarr.json", "a" * 300)


@pytest.mark.parametrize("name", ["a", "a.b-1", "стул", "chair (2)", "a~1", "a b", "-a", "a%2Fb", "a" * 255])
def test_valid_ids(name: str) -> None:
    """Other names are ids."""
    assert is_id(name) and is_key(f"{name}/{name}")


@pytest.mark.parametrize("key", [*(f"chair/{name}" for name in IDS), "chair", "a/b/c", 3, None, ["chair/a"], {}])
def test_ids_of_spaces(key: Any, tmp_path: Path) -> None:
    """A space with an invalid key is not loaded, so that no command can write to its path."""
    write_space(tmp_path, 1)
    listing = json.loads((tmp_path / "shapes.json").read_text())
    listing["shapes"][0]["key"] = key
    (tmp_path / "shapes.json").write_text(json.dumps(listing))
    renew_manifest(tmp_path)
    with pytest.raises(ls.CheckpointError, match="is not a valid key of a shape"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a\x1b[31m", "..", ""])
def test_targets_of_fits(name: str, tmp_path: Path) -> None:
    """The name of a fit never contains a separator or a control character."""
    refined_fit().save(tmp_path / "fits" / "a", target=name)
    fits, _ = load_fits(tmp_path / "fits")
    assert list(fits) and all(is_id(found) for found in fits)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["../x"], "'../x' is not a valid id"),
        (["/etc/passwd"], "'/etc/passwd' is not a valid id"),
        (["a\u001b[31m"], "is not a valid id"),
        ([""], "'' is not a valid id"),
        ({"x": [".."]}, "'x/..' is not a valid id"),
        ({"data": {"..": ["a"]}}, "'../a' is not a valid id"),
        ([{"a": 1}], "expected a DeepSDF split"),
        ([True], "expected a DeepSDF split"),
        ([1.5], "expected a DeepSDF split"),
        ({"chair": "abc"}, "expected a DeepSDF split"),
        (3, "expected a DeepSDF split"),
        (None, "expected a DeepSDF split"),
        ("chair", "expected a DeepSDF split"),
        ([[["a"]]], "expected a DeepSDF split"),
        ([7], "1 of 1 shapes are not among the meshes, for example 7"),
    ],
)
def test_splits(content: Any, message: str, tmp_path: Path) -> None:
    """Splits with invalid ids or of another type are refused in the user's terms."""
    split = tmp_path / "split.json"
    split.write_text(json.dumps(content))
    with pytest.raises(ls.ConfigError, match=message):
        select_shapes([ShapeFile("chair", "a", tmp_path)], tmp_path, (), split, "*")
    split.write_text("[" * 100_000)
    with pytest.raises(ls.ConfigError, match="expected a DeepSDF split"):
        select_shapes([ShapeFile("chair", "a", tmp_path)], tmp_path, (), split, "*")


def test_ids_of_stores(store: SampleStore) -> None:
    """A folder whose name is no id is named, and not read."""
    (store.path / "shapes" / "lamp" / "a").rename(store.path / "shapes" / "lamp" / "a\x1b[31m")
    with pytest.raises(ls.StoreError, match=r"a shape 'lamp/a\\x1b\[31m', which is not a valid name"):
        store.keys()
    for key in ("../x", "lamp/../../x", "/etc/x", "lamp"):
        assert key not in store
        with pytest.raises(ls.StoreError, match="has no shape"):
            store.read(key)


# links


def test_temporary_folder_that_is_a_link(store: SampleStore, outside: Path) -> None:
    """A store whose `tmp` is a link is refused, and what it points to is kept."""
    shutil.rmtree(store.path / "tmp", ignore_errors=True)
    (store.path / "tmp").symlink_to(outside)
    for write in (lambda: SampleStore.create(store.path), lambda: store.write(store.read("lamp/a"))):
        with pytest.raises(ls.StoreError, match="tmp: is a symbolic link"):
            write()
    assert _is_untouched(outside)


def test_links_inside_temporary_folder(store: SampleStore, outside: Path) -> None:
    """Links below `tmp` are not followed when abandoned folders are removed."""
    (store.path / "tmp").mkdir(exist_ok=True)
    (store.path / "tmp" / "abandoned").symlink_to(outside)
    (store.path / "tmp" / "other").mkdir()
    (store.path / "tmp" / "other" / "link").symlink_to(outside)
    SampleStore.create(store.path)
    assert _is_untouched(outside) and not (store.path / "tmp" / "other").exists()


@pytest.mark.parametrize("link", ["shapes", "shapes/lamp", "shapes/lamp/a"])
def test_categories_that_are_links(link: str, store: SampleStore, outside: Path) -> None:
    """A shape is not written through a link in a store."""
    record = store.read("lamp/a")
    shutil.rmtree(store.path / link)
    (store.path / link).symlink_to(outside)
    with pytest.raises(ls.StoreError, match="is a symbolic link"):
        store.write(record)
    assert _is_untouched(outside)


def test_outputs_in_linked_folders(
    tmp_path: Path, outside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`extract --all` does not write through a category folder that is a link."""
    monkeypatch.setattr(ls.ShapeSpace, "extract", lambda *_, **__: trimesh.creation.box())
    write_space(tmp_path / "space", 1)
    listing = json.loads((tmp_path / "space" / "shapes.json").read_text())
    listing["shapes"][0]["key"], listing["shapes"][1]["key"] = "chair/a", "table/a"  # written as category/id
    (tmp_path / "space" / "shapes.json").write_text(json.dumps(listing))
    renew_manifest(tmp_path / "space")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "chair").symlink_to(outside)
    words = ["extract", str(tmp_path / "space"), "--all", "--out", str(tmp_path / "out"), "--resolution", "16"]
    assert cli.main([*words, "--mode", "general", "--device", "cpu"]) == 0
    assert _is_untouched(outside) and (tmp_path / "out" / "table" / "a.ply").is_file()
    assert "is a symbolic link" in " ".join(capsys.readouterr().err.split())


def test_fits_in_linked_folders(tmp_path: Path, outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`invert` of several targets does not write through a folder that is a link."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b").symlink_to(outside)
    assert cli.main(["invert", "space", "a.ply", "b.ply", "--out", str(tmp_path / "out")]) == 2
    assert _is_untouched(outside) and "b: is a symbolic link" in " ".join(capsys.readouterr().err.split())


def test_log_that_is_a_link(tmp_path: Path, outside: Path) -> None:
    """`metrics.jsonl` is replaced instead of written through."""
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "metrics.jsonl").symlink_to(outside / "inner" / "file")
    with open_training_logger(tmp_path / "space", Config(), 0) as logger:
        logger.log({"step": 1})
    assert _is_untouched(outside) and not (tmp_path / "space" / "metrics.jsonl").is_symlink()
    (tmp_path / "space" / "tensorboard").symlink_to(outside)
    events = Config(train=ls.TrainConfig(tensorboard=True))
    with (
        pytest.raises(ls.CheckpointError, match="tensorboard: is a symbolic link"),
        open_training_logger(tmp_path / "space", events, 0),
    ):
        pass
    assert _is_untouched(outside)


def test_staging_folder_that_is_a_link(tmp_path: Path, outside: Path) -> None:
    """`.next` that is a link is refused by readers and writers of every artifact."""
    (outside / "manifest.json").write_text("{}")
    for number, write in enumerate((lambda f: write_space(f, 1), refined_fit().save, lambda f: field(1).save(f))):
        folder = tmp_path / str(number)
        write(folder)
        (folder / ".next").symlink_to(outside)
        for call in (write, (checkpoint.load, ls.load_fit, ls.load_field)[number]):
            with pytest.raises(ls.CheckpointError, match="next: is a symbolic link"):
                call(folder)
    (outside / "manifest.json").unlink()
    assert _is_untouched(outside)


def test_files_that_are_links(tmp_path: Path, outside: Path) -> None:
    """A file of an artifact, or an output, that is a link is replaced; temporary files are created by us."""
    victim = outside / "inner" / "file"
    refined_fit().save(tmp_path / "fit")
    for path in (tmp_path / "fit" / "code.npy", tmp_path / "out.txt"):
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
    refined_fit().save(tmp_path / "fit")
    with atomic_write(tmp_path / "out.txt") as temporary:
        assert temporary.is_file() and not temporary.is_symlink()
        temporary.write_text("new")
    assert _is_untouched(outside) and (tmp_path / "out.txt").read_text() == "new"
    assert not (tmp_path / "fit" / "code.npy").is_symlink()


def test_manifest_of_other_files(tmp_path: Path) -> None:
    """A staged manifest moves only files of the artifact."""
    refined_fit().save(tmp_path / "fit")
    (tmp_path / "victim").write_text("kept")
    entry = {"bytes": 4, "sha256": "0" * 64}
    for name in ("../victim", "/etc/passwd", "other.txt", ""):
        (tmp_path / "fit" / ".next").mkdir(exist_ok=True)
        manifest = {"format": "latentsdf-manifest", "version": 1, "kind": "fit", "files": {name: entry}}
        (tmp_path / "fit" / ".next" / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ls.CheckpointError, match="unexpected file"):
            ls.load_fit(tmp_path / "fit")
    assert (tmp_path / "victim").read_text() == "kept"


@pytest.mark.parametrize(
    "manifest",
    [
        {"format": "latentsdf-manifest", "version": 2, "kind": "fit", "files": {}},
        {"format": "latentsdf-manifest", "version": 1, "kind": "space", "files": {}},
        {"format": "latentsdf-manifest", "version": 1, "kind": "fit", "files": []},
        {"format": "latentsdf-manifest", "version": 1, "kind": "fit", "files": {"code.npy": 3}},
        {"format": "latentsdf-manifest", "version": 1, "kind": "fit", "files": {"code.npy": {"bytes": -1}}},
        {"format": "latentsdf-manifest", "version": 1, "kind": "fit", "files": {"code.npy": {"bytes": 1, "sha256": 5}}},
        {},
        [],
        {"a": " " * (2 << 20)},
    ],
)
def test_manifests_of_another_form(manifest: Any, tmp_path: Path) -> None:
    """A manifest of another form, kind or version is named."""
    refined_fit().save(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ls.CheckpointError, match=r"manifest\.json: damaged"):
        ls.load_fit(tmp_path)


# HDF5


@pytest.fixture
def exported(lamp_store: SampleStore, tmp_path: Path) -> Path:
    """HDF5 file of three lamps."""
    export_samples(lamp_store, tmp_path / "s.h5")
    return tmp_path / "s.h5"


def test_hdf5_groups(exported: Path, tmp_path: Path) -> None:
    """Categories and shapes that are links, or whose names are no ids, are refused when the file is opened."""
    whole = exported.read_bytes()
    for change, message in (
        (lambda f: f.__setitem__("other", h5py.ExternalLink(str(exported), "lamp")), "is a link to another place"),
        (lambda f: f.__setitem__("other", h5py.SoftLink("/lamp")), "is a link to another place"),
        (lambda f: f["lamp"].move("a", "a\x1b[31m"), "is not a valid name of a shape"),
        (lambda f: f["lamp"].move("a", ".."), "is not a valid name of a shape"),
        (lambda f: f.move("lamp", "__lamp"), "is not a valid name of a shape"),
        (lambda f: f.__setitem__("array", np.zeros(3)), "is not a group"),
    ):
        path = tmp_path / "changed.h5"
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(ls.StoreError, match=message):
            hdf5.open_file(path)


def test_dfaust_links(registrations: Path, tmp_path: Path) -> None:
    """The same holds for D-FAUST registrations."""
    whole = registrations.read_bytes()
    for change, message in (
        (lambda f: f.__setitem__("x", h5py.ExternalLink(str(registrations), "faces")), "is a link to another place"),
        (lambda f: f.__setitem__("x", h5py.SoftLink("/50004_punching")), "is a link to another place"),
        (lambda f: f.move("50004_punching", "a\\b"), "is not a valid name of a sequence"),
        (lambda f: f.create_dataset("x", (10**9, 3, 4), np.float64, chunks=(9, 3, 4)), "declares 96,000,000,000"),
    ):
        path = tmp_path / "changed.hdf5"
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(ls.MeshError, match=message):
            dfaust.find_frames(path, 1)


# declared sizes


def _npy_head(shape: str, descr: str = "'<f4'") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_npy_head("(10**12,)"), "not an array"),
        (_npy_head("(1000000000000,)") + bytes(12), "4,000,000,000,000 bytes, but 12 follow"),
        (_npy_head("(3,)", "'|O'") + bytes(24), "Python objects"),
        (_npy_head("(3,)") + bytes(16), "12 bytes, but 16 follow"),
        (_npy_head("(-3,)") + bytes(12), "but 12 follow"),
        (_npy_head("(3,)", "'<U1000000'") + bytes(12), "but 12 follow"),
        (b"\x93NUMPY\x03\x00" + b"\xff" * 4, "not an array"),
        (b"", "not an array"),
    ],
)
def test_declared_sizes_of_arrays(data: bytes, message: str, tmp_path: Path) -> None:
    """The head of an array cannot ask for more than the file has, and never for Python objects."""
    with pytest.raises(ValueError, match=message):
        parse_npy(data)
    (tmp_path / "code.npy").write_bytes(data)
    with pytest.raises(ls.ConfigError, match=r"code\.npy"):
        load_code(tmp_path / "code.npy")


def test_inflated_archive(tmp_path: Path) -> None:
    """An archive that would inflate without end is refused."""
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(4_000_000, np.uint8))
    with (tmp_path / "zeros.npz").open("rb") as file:
        data = file.read()
    assert parse_npz(data, ("a",))["a"].size == 4_000_000  # Deflate reaches 1,030
    with pytest.raises(ValueError, match="not a file of arrays"):
        parse_npz(data, ("b",))
    with pytest.raises(ValueError, match="not a file of arrays"):
        parse_npz(tmp_path / "zeros.npz", ("b",))


@pytest.mark.parametrize(
    ("array", "changes", "message"),
    [
        ("near", {"shape": [10**10, 4]}, "shards"),
        ("near", {"shape": [4000, 5]}, "not as in this layout"),
        ("near", {"shape": [16000]}, "is damaged"),
        ("near", {"data_type": "float64"}, "not as in this layout"),
        ("band_index", {"shape": [10**10]}, "shards"),
        ("sparse_sdf", {"shape": [5000, 5000, 5000]}, "shards"),
        ("surface", {"data_type": "string"}, "is damaged"),
    ],
)
def test_declared_arrays_of_stores(array: str, changes: dict[str, Any], message: str, store: SampleStore) -> None:
    """A store array that declares another size or type is refused before it is allocated."""
    change_metadata(store.path / "shapes" / "lamp" / "a" / array, **changes)
    for read in (store.verify, store.read):
        with pytest.raises(ls.StoreError, match=message):
            read("lamp/a")


def test_declared_chunks_of_stores(store: SampleStore, tmp_path: Path) -> None:
    """A consistent declaration of many rows is compared with the file of the chunks, and chunks with their heads."""
    path = store.path / "shapes" / "lamp" / "a" / "near"
    metadata = json.loads((path / "zarr.json").read_text())
    rows = 10**10
    metadata["shape"] = [rows, 4]
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [rows, 4]
    (inner,) = (codec for codec in metadata["codecs"] if codec["name"] == "sharding_indexed")
    inner["configuration"]["chunk_shape"] = [50_000, 4]
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ls.StoreError, match=r"declares 160,000,000,000 bytes, which its file of .* cannot hold"):
        store.verify("lamp/a")
    inner["configuration"]["chunk_shape"] = [10**10, 4]
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ls.StoreError, match="not as in this layout"):
        store.verify("lamp/a")
    shard = store.path / "shapes" / "lamp" / "b.1" / "near" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[4:8] = (2**31 - 1).to_bytes(4, "little")  # the decompressed size in the head of Blosc
    shard.write_bytes(data)
    with pytest.raises(ls.StoreError, match="a chunk of array near has another size"):
        store.verify("lamp/b.1")
    folder = tmp_path / "zeros"
    zarr.create_array(
        folder, shape=(10**9,), dtype=np.uint32, chunks=(131_072,), shards=(131_072 * 7630,),
        compressors=(BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()),
    )  # fmt: skip
    shutil.rmtree(store.path / "shapes" / "стул" / "a" / "band_index")
    shutil.copytree(folder, store.path / "shapes" / "стул" / "a" / "band_index")
    with pytest.raises(ls.StoreError, match="band_index"):
        store.verify("стул/a")


@pytest.mark.parametrize("text", ["[]", "3", "{}", "[" * 100_000, '{"a":' * 100_000, " " * (2 << 20), "not JSON"])
def test_metadata_of_stores(text: str, store: SampleStore) -> None:
    """Metadata of another type, too deep or too long is an error in the user's terms."""
    (store.path / "shapes" / "lamp" / "a" / "zarr.json").write_text(text)
    (store.path / "shapes" / "lamp" / "b.1" / "near" / "zarr.json").write_text(text)
    for key in ("lamp/a", "lamp/b.1"):
        with pytest.raises(ls.StoreError, match="is damaged"):
            store.read(key)
    (store.path / "zarr.json").write_text(text)
    with pytest.raises(ls.StoreError, match="not a sample store|but not a latentsdf-samples store"):
        SampleStore.open(store.path)


# configurations


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: &x 1", "anchors"),
        ("<<: &x {a: 1}", "anchors"),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 16 levels"),
        ("a: " + "{b: " * 40 + "}" * 40, "nested deeper than 16 levels"),
        ("a: " + "[" * 20_000, "nested deeper than 16 levels"),
        ("a: " + "x" * 70_000, "at most 65,536 bytes"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("a: \x00", "not YAML"),
        ("- 1", "expected keys and values"),
        ("? [a, b]\n: 1", "not YAML|unknown key"),
    ],
)
def test_yaml(text: str, message: str, tmp_path: Path) -> None:
    """YAML that describes much in few lines, or more than plain values, is refused."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ls.ConfigError, match=message):
        loader.load(Config, tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("cls", "key", "value"),
    [
        (Config, "model.general.width", 1_000_000_000),
        (Config, "model.general.depth", 1_000_000),
        (Config, "model.overfit.frequencies", 1000),
        (Config, "model.grid.resolution", 100_000),
        (Config, "model.grid.channels", 10**9),
        (Config, "model.code_dim", 10**9),
        (Config, "model.local.resolution", 1000),
        (Config, "model.local.channels", 10**9),
        (Config, "train.shapes_per_batch", 10**12),
        (Config, "train.points_per_shape", 10**12),
        (Config, "loss.regularizer_points", 10**12),
        (ReconstructConfig, "model.width", 10**9),
        (ReconstructConfig, "model.depth", 10**6),
        (ReconstructConfig, "model.resolutions", [10**6]),
        (ReconstructConfig, "medial.phase_width", 10**9),
        (ReconstructConfig, "medial.phase_blocks", 10**6),
        (ReconstructConfig, "train.surface_points", 10**12),
        (ls.SamplingConfig, "near", 10**12),
    ],
)
def test_limits_of_settings(cls: type, key: str, value: Any) -> None:
    """Sizes in a configuration have limits."""
    with pytest.raises(ls.ConfigError, match=rf"{key} must be at most"):
        loader.from_dict(cls, loader.merge({}, {key: value}), "a.yaml")
    with pytest.raises(ls.ConfigError, match=r"model.resolutions"):
        loader.from_dict(ReconstructConfig, {"model": {"resolutions": [8] * 99}}, "a.yaml")


def test_configurations_of_large_models(tmp_path: Path) -> None:
    """A space or field whose configuration describes a huge model is refused before the model is allocated."""
    write_space(tmp_path / "space", 1)
    field(1).save(tmp_path / "field")
    limits = {"model.grid.resolution": 2048, "model.grid.channels": 1024, "model.general.width": 8192}
    for folder, config, changes in (
        (tmp_path / "space", CONFIG, limits | {"model.general.depth": 8}),
        (tmp_path / "field", FIELD, {"model.width": 8192, "model.depth": 8}),
    ):
        values = loader.merge(loader.to_dict(config), changes)
        (folder / "config.yaml").write_text(loader.to_yaml(loader.from_dict(type(config), values, "a")))
        renew_manifest(folder)
    with pytest.raises(ls.CheckpointError, match="does not match config.yaml"):
        checkpoint.load(tmp_path / "space")
    with pytest.raises(ls.CheckpointError, match="do not fit config.yaml"):
        ls.load_field(tmp_path / "field", "cpu")


def test_memory_of_models() -> None:
    """A network that exceeds the memory is refused with its estimate."""
    values = {"model": {"width": 8192, "depth": 128, "kind": "quadratic", "start": "siren"}}
    config = loader.from_dict(ReconstructConfig, values, "a")
    with pytest.raises(ls.ConfigError, match=r"the network needs about .* GB, but cpu has .* GB; lower"):
        ls.reconstruct(np.random.default_rng(0).normal(size=(150, 3)), config=config, device="cpu")


def test_large_tensors(tmp_path: Path) -> None:
    """A tensor file that declares more than it has is refused by its reader."""
    write_space(tmp_path, 1)
    head = json.dumps({"codes": {"dtype": "F32", "shape": [10**9, 10**3], "data_offsets": [0, 4 * 10**12]}}).encode()
    (tmp_path / "codes.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(16))
    renew_manifest(tmp_path)
    with pytest.raises(ls.CheckpointError, match="damaged checkpoint"):
        checkpoint.load(tmp_path)


def test_pickled_state(tmp_path: Path) -> None:
    """A training state that would run code is refused, and the code does not run."""
    import pickle

    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "attacked"),)

    write_space(tmp_path / "space", 1)
    (tmp_path / "space" / "state.pt").write_bytes(pickle.dumps(Attack()))
    renew_manifest(tmp_path / "space")
    with pytest.raises(ls.CheckpointError, match="damaged, so training cannot resume"):
        checkpoint.load_state(tmp_path / "space")
    assert not (tmp_path / "attacked").exists()


def test_temporary_folders_of_artifacts(tmp_path: Path, outside: Path) -> None:
    """Folders that killed writers left are removed, links among them are not followed."""
    (tmp_path / "fit" / ".next~nobody").mkdir(parents=True)
    (tmp_path / "fit" / ".next~link").symlink_to(outside)
    with write_artifact(tmp_path / "fit", "fit", ("a",)) as folder:
        (folder / "a").write_text("a")
    assert not (tmp_path / "fit" / ".next~nobody").exists() and _is_untouched(outside)


def test_sampling_settings_of_stores(store: SampleStore) -> None:
    """Sampling settings of another type are refused."""
    attributes = json.loads((store.path / "zarr.json").read_text())["attributes"]
    for sampling in ([], "a", None, 3):
        change_metadata(store.path, attributes=attributes | {"sampling": sampling})
        with pytest.raises(ls.StoreError, match="its sampling settings"):
            SampleStore.open(store.path)
    assert store.config == SMALL_SAMPLING
