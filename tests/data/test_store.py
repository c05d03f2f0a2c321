"""The sample store: round trip, atomic writes, damage and version errors."""

import errno
import json
import os
import shlex
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_SAMPLING, files_of

from latentsdf import cli
from latentsdf.data import band_codec, zarr_layout
from latentsdf.data import store as store_module
from latentsdf.data.furniture import furniture
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.utils.errors import ConfigError, StoreError
from preprocessing import __main__ as preprocess


@pytest.fixture(scope="module")
def record() -> ShapeRecord:
    mesh, similarity = normalize(furniture("lamp", 0))
    return ShapeRecord(
        category="lamp",
        id="a.b-1",
        samples=sample(mesh, SMALL_SAMPLING, 0),
        similarity=similarity,
        source="x",
        source_sha256="y",
        watertight=True,
        area=mesh.area,
        seed=7,
    )


def test_what_is_written_is_read_back(record: ShapeRecord, tmp_path: Path) -> None:
    SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING).write(record)
    store = SampleStore.open(tmp_path / "s.zarr")
    assert store.keys() == ["lamp/a.b-1"] and "lamp/a.b-1" in store and "lamp/other" not in store
    back = store.read("lamp/a.b-1")
    assert np.array_equal(back.samples.band_index, record.samples.band_index)
    step = SMALL_SAMPLING.band_voxels * 2 / SMALL_SAMPLING.resolution / 32767
    assert np.abs(back.samples.band_distance - record.samples.band_distance).max() < 0.51 * step
    assert np.abs(back.samples.sparse_distance - record.samples.sparse_distance).max() < 1e-3
    assert sorted(map(tuple, back.samples.near)) == sorted(map(tuple, record.samples.near))
    assert back.similarity == record.similarity and back.seed == 7
    store.verify("lamp/a.b-1")


def test_every_stratum_is_a_fair_sample_of_the_band(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(band_codec, "CHUNK_ROWS", 2000)
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    whole_index, whole = record.samples.band_index, record.samples.band_distance
    count = store.band_chunk_count(record.key)
    parts = [store.band(record.key, [chunk]) for chunk in range(count)]
    sizes = [len(index) for index, _ in parts]
    assert count == -(-len(whole) // 2000) and max(sizes) - min(sizes) < count
    assert np.array_equal(np.sort(np.concatenate([index for index, _ in parts])), whole_index)
    for index, distance in parts:
        spread = whole.std() / np.sqrt(len(index))
        assert abs(distance.mean() - whole.mean()) < 5 * spread
        assert abs(np.median(index) - np.median(whole_index)) < 0.1 * np.ptp(whole_index)
    some = [2, 3, 0]
    together = store.band(record.key, some)
    assert np.array_equal(together[0], np.concatenate([parts[k][0] for k in some]))
    assert np.array_equal(together[1], np.concatenate([parts[k][1] for k in some]))
    assert [len(part) for part in store.band(record.key, [])] == [0, 0]
    with pytest.raises(ConfigError, match=f"has band chunks 0 to {count - 1}"):
        store.band(record.key, [count])


@pytest.mark.parametrize("resolution", [32, 61, 512, 1024])
def test_strata_give_back_any_set_of_vertices(resolution: int) -> None:
    rng = np.random.default_rng(resolution)
    last = (resolution + 1) ** 3 - 1
    index = np.unique(np.append(rng.integers(0, last, 5000), [0, last])).astype(np.uint32)
    distance = (index % 1001 / 500 - 1).astype(np.float32) * np.float32(0.02)
    coded = band_codec.encode(index, distance, resolution, 0.02, rng)
    back, value = band_codec.decode(coded, resolution, 0.02)
    order = np.argsort(back)
    assert np.array_equal(back[order], index)
    assert np.abs(value[order] - distance).max() <= 0.02 / 65_534 * 1.01


def test_a_write_that_fails_leaves_nothing_and_a_full_disk_is_named(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr_layout, "_write_array", full)
        with pytest.raises(StoreError, match=r"s\.zarr: the disk is full; shapes written before are complete"):
            store.write(record)
    assert store.keys() == []
    assert list((tmp_path / "s.zarr" / "tmp").iterdir()) == []
    store.write(record)
    assert store.keys() == [record.key]


def _flip_a_byte(folder: Path) -> None:
    """Of the largest file of an array."""
    shard = max((file for file in (folder / "c").rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[100] ^= 0xFF
    shard.write_bytes(bytes(content))


def test_damage_names_the_shape(record: ShapeRecord, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    _flip_a_byte(tmp_path / "s.zarr" / "shapes" / "lamp" / "a.b-1" / "band_sdf")
    with pytest.raises(StoreError, match="shape 'lamp/a.b-1' is damaged .*; rebuild it: .* --glob 'lamp/a.b-1' --over"):
        store.verify(record.key)
    with pytest.raises(StoreError, match="lamp/a.b-1"):
        store.band(record.key)


def test_verify_names_every_damaged_shape_and_the_advice_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.zarr"
    few = ["--resolution", "32", "--near", "200", "--uniform", "200", "--surface", "200", "--workers", "1"]
    make = ["--source", "procedural", "--category", "lamp", "--count", "3", "--out", str(path), *few]
    assert preprocess.main(make) == 0
    before = files_of(path / "shapes")
    _flip_a_byte(path / "shapes" / "lamp" / "lamp_0001" / "near")
    (path / "shapes" / "lamp" / "lamp_0002" / "zarr.json").write_text("{")
    assert cli.main(["info", str(path)]) == 2
    assert "1 of 3 shapes are damaged" in capsys.readouterr().err
    assert cli.main(["info", str(path), "--verify"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "2 of 3 shapes are damaged" in told and "lamp_0000' is damaged" not in told
    for key in ("lamp/lamp_0001", "lamp/lamp_0002"):
        assert f"shape '{key}' is damaged" in told
        advice = f"--glob '{key}' --overwrite"
        assert advice in told and preprocess.main([*make, *shlex.split(advice)]) == 0
    assert cli.main(["info", str(path), "--verify"]) == 0
    assert files_of(path / "shapes") == before


def test_a_lost_file_is_damage_and_not_zeros(record: ShapeRecord, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    folder = tmp_path / "s.zarr" / "shapes" / record.key
    (folder / "near" / "c" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="'lamp/a.b-1' is damaged .the file of array near is missing.; rebuild it"):
        store.offsurface_samples(record.key)
    for name in ("band_sdf", "sparse_sdf"):
        shard = next(file for file in (folder / name / "c").rglob("*") if file.is_file())
        shard.write_bytes(shard.read_bytes()[:-10])
        with pytest.raises(StoreError, match="lamp/a.b-1' is damaged"):
            store.read(record.key)
    (folder / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="lamp/a.b-1' is damaged"):
        store.info(record.key)
    store.write(record)
    store.verify(record.key)


def test_a_kill_while_replacing_leaves_no_half_shape(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)

    class Killed(BaseException):
        pass

    final, rename = tmp_path / "s.zarr" / "shapes" / record.key, os.replace

    def die_before_the_last(source: Path, target: Path) -> None:
        if target == final:
            raise Killed
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "replace", die_before_the_last)
        with pytest.raises(Killed):
            store.write(record)
    assert record.key not in store and not final.exists()
    store.write(record)
    store.verify(record.key)


def test_leftovers_of_killed_writers_are_cleared_but_not_those_of_living_ones(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    SampleStore.create(path, SMALL_SAMPLING)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    names = [f"{host}~{ended.pid}~1", f"{host}~{os.getpid()}~2", f"elsewhere~{ended.pid}~3"]
    for name in names:
        (path / "tmp" / name).mkdir(parents=True)
    assert SampleStore.create(path, SMALL_SAMPLING).keys() == []
    assert sorted(folder.name for folder in (path / "tmp").iterdir()) == sorted(names[1:])


def test_a_record_sampled_otherwise_is_refused(record: ShapeRecord, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", replace(SMALL_SAMPLING, band_voxels=5))
    with pytest.raises(StoreError, match=r"'lamp/a.b-1': sampled with .*64, 3, 32.; the store has .64, 5, 32."):
        store.write(record)


def test_other_settings_versions_and_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    SampleStore.create(path, SMALL_SAMPLING)
    with pytest.raises(StoreError, match=r"other settings: near \(4000 in the store, 5 requested\)"):
        SampleStore.create(path, replace(SMALL_SAMPLING, near=5))
    attributes = json.loads((path / "zarr.json").read_text())
    attributes["attributes"]["version"] = 99
    (path / "zarr.json").write_text(json.dumps(attributes))
    with pytest.raises(StoreError, match="store version 99, this latentsdf reads version 1"):
        SampleStore.open(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.open(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such sample store; make one with latentsdf-preprocess"):
        SampleStore.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "key", ["../x", "a/../b", "a/", "/a", "a", "a/.hidden", "a/b/c", "a/zarr.json", "__a/b", "a/b\n"]
)
def test_keys_that_are_no_plain_names_are_refused(key: str, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    assert key not in store
    for use in (store.info, store.read, store.verify, store.band):
        with pytest.raises((ConfigError, StoreError), match="is not a valid shape key|has no shape"):
            use(key)


def test_names_in_any_script_are_keys(record: ShapeRecord, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(replace(record, category="стул", id="Stühlchen (2)"))
    assert store.keys() == ["стул/Stühlchen (2)"]


def test_another_worker_may_make_the_category_first(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = store_module.zarr.open_group

    def beaten(folder: Path, mode: str) -> object:
        group = opened(folder, mode=mode)
        if mode == "a":
            raise store_module.ContainsGroupError(f"A group exists at {folder}")
        return group

    store = SampleStore.create(tmp_path / "a.zarr", SMALL_SAMPLING)
    monkeypatch.setattr(store_module.zarr, "open_group", beaten)
    store.write(record)
    monkeypatch.undo()
    assert store.keys() == [record.key]
