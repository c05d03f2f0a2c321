"""Tests of the sample store: round trip, atomic writes, damage, versions and keys."""

import errno
import json
import os
import shlex
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.files import files_of, flip_byte
from helpers.settings import SMALL_SAMPLING

from latentsdf import cli
from latentsdf.data import band_codec, zarr_layout
from latentsdf.data import store as store_module
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import ConfigError, StoreError
from preprocessing import __main__ as preprocess


def test_round_trip(record: ShapeRecord, tmp_path: Path) -> None:
    """A record is read back up to the documented quantization."""
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


def test_random_subsets_in_band_chunks(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk of a band has the mean, median and extent of the whole band."""
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


def test_subsets_as_runs_of_stored_rows(record: ShapeRecord, tmp_path: Path) -> None:
    """Subsets have the requested share of the rows of each array, and different generators give different ones."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    near, uniform = store.offsurface_samples(record.key)
    assert store.offsurface_count(record.key) == len(near) + len(uniform)
    assert store.surface_array_shape(record.key) == (1000, 6)
    rng = np.random.default_rng(0)
    some_near, some_uniform = store.offsurface_subset(record.key, 0.3, rng)
    assert len(some_near) == 1200 and len(some_uniform) == 1200
    start = int(np.flatnonzero((near == some_near[0]).all(1))[0])
    assert np.array_equal(some_near, near[start : start + 1200])
    surface = store.surface_subset(record.key, 0.1, rng)
    assert surface.shape == (100, 6) and not np.array_equal(surface, store.surface_subset(record.key, 0.1, rng))


def test_provenance(record: ShapeRecord, tmp_path: Path) -> None:
    """The hash of the source and the seed are available without reading arrays."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    assert store.provenance(record.key) == ("0f", 7)
    info = store.info(record.key)
    assert info.attributes() == record.attributes() and info.sign == record.samples.sign
    assert info.band_samples == len(record.samples.band_index) and 0 < info.band_bytes < info.stored_bytes


def test_failed_write(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write leaves no files behind, and a full disk is reported."""
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


@pytest.mark.parametrize("survives", [False, True])
def test_killed_replacement(
    survives: bool, record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shape that was being replaced when the process was killed is restored by the next one."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    final, move = store.path / "shapes" / record.key, os.replace

    def kill(source: Path, target: Path) -> None:
        if Path(target) == final and not survives:
            raise KeyboardInterrupt
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 2**22 + 7)  # no process has this id
        patch.setattr(os, "replace", kill)
        patch.setattr(store_module.shutil, "rmtree", lambda *_, **__: None)
        with suppress(KeyboardInterrupt):
            store.write(replace(record, source="new"))
    assert final.exists() == survives
    SampleStore.create(store.path)
    store.verify(record.key)
    assert store.info(record.key).source == ("new" if survives else record.source)
    assert list((store.path / "tmp").iterdir()) == []


def _flip_byte_of_array(folder: Path) -> None:
    """Damage the largest file of an array."""
    shards = [file for file in (folder / "c").rglob("*") if file.is_file()]
    flip_byte(max(shards, key=lambda file: file.stat().st_size))


def test_damaged_array(record: ShapeRecord, tmp_path: Path) -> None:
    """A checksum error is reported with the key of the shape and the command that rebuilds it."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    _flip_byte_of_array(tmp_path / "s.zarr" / "shapes" / "lamp" / "a.b-1" / "band_sdf")
    with pytest.raises(StoreError, match="shape 'lamp/a.b-1' is damaged .*; rebuild it: .* --glob 'lamp/a.b-1' --over"):
        store.verify(record.key)
    with pytest.raises(StoreError, match="lamp/a.b-1"):
        store.band(record.key)


@pytest.mark.usefixtures("in_process")
def test_verification_and_rebuild(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`info --verify` reports every damaged shape, and the suggested command restores the same bytes."""
    path = tmp_path / "s.zarr"
    few = ["--resolution", "32", "--near", "200", "--uniform", "200", "--surface", "200", "--workers", "1"]
    make = ["--source", "procedural", "--category", "lamp", "--count", "3", "--out", str(path), *few]
    assert preprocess.main(make) == 0
    before = files_of(path / "shapes")
    _flip_byte_of_array(path / "shapes" / "lamp" / "lamp_0001" / "near")
    (path / "shapes" / "lamp" / "lamp_0002" / "zarr.json").write_text("{")
    assert cli.main(["info", str(path)]) == 2
    assert "1 of 3 shapes are damaged" in capsys.readouterr().err
    assert cli.main(["info", str(path), "--verify"]) == 2
    output = " ".join(capsys.readouterr().err.split())
    assert "2 of 3 shapes are damaged" in output and "lamp_0000' is damaged" not in output
    for key in ("lamp/lamp_0001", "lamp/lamp_0002"):
        assert f"shape '{key}' is damaged" in output
        advice = f"--glob '{key}' --overwrite"
        assert advice in output and preprocess.main([*make, *shlex.split(advice)]) == 0
    assert cli.main(["info", str(path), "--verify"]) == 0
    assert files_of(path / "shapes") == before


def test_missing_and_truncated_files(record: ShapeRecord, tmp_path: Path) -> None:
    """A missing or truncated file is reported as damage instead of being read as zeros."""
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


def test_kill_during_replacement(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it replaces a shape leaves no incomplete shape."""
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


def test_temporary_folders_of_dead_processes(tmp_path: Path) -> None:
    """Temporary folders of dead processes are removed, those of live or remote processes are kept."""
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


def test_record_with_other_lattice(record: ShapeRecord, tmp_path: Path) -> None:
    """A record with other lattice settings is rejected."""
    store = SampleStore.create(tmp_path / "s.zarr", replace(SMALL_SAMPLING, band_voxels=5.0))
    with pytest.raises(StoreError, match=r"'lamp/a.b-1': sampled with .*64, 3.0, 32.; the store has .64, 5.0, 32."):
        store.write(record)


def test_creation_by_several_at_once(tmp_path: Path) -> None:
    """If several threads create one store with different settings at once, one succeeds and the others get an error."""

    def create(near: int) -> int | None:
        try:
            return SampleStore.create(tmp_path / "s.zarr", replace(SMALL_SAMPLING, near=near)).config.near
        except StoreError as error:
            assert "was created with different settings" in str(error)
            return None

    with ThreadPoolExecutor(8) as executor:
        created = [near for near in executor.map(create, range(100, 108)) if near is not None]
    assert created == [SampleStore.open(tmp_path / "s.zarr").config.near]


def test_incompatible_stores(tmp_path: Path) -> None:
    """Stores with other settings or versions, and folders that are not stores, are rejected."""
    path = tmp_path / "s.zarr"
    SampleStore.create(path, SMALL_SAMPLING)
    with pytest.raises(StoreError, match=r"different settings: near \(4000 in the store, 5 requested\)"):
        SampleStore.create(path, replace(SMALL_SAMPLING, near=5))
    attributes = json.loads((path / "zarr.json").read_text())
    attributes["attributes"]["version"] = 99
    (path / "zarr.json").write_text(json.dumps(attributes))
    with pytest.raises(StoreError, match="store version 99, but this latentsdf reads version 1"):
        SampleStore.open(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.open(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such sample store; make one with latentsdf-preprocess"):
        SampleStore.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "key", ["../x", "a/../b", "a/", "/a", "a", "a/.hidden", "a/b/c", "a/zarr.json", "__a/b", "a/b\n"]
)
def test_invalid_keys(key: str, tmp_path: Path) -> None:
    """Keys that are not two plain folder names are rejected by every method."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    assert key not in store
    for use in (store.info, store.read, store.verify, store.band):
        with pytest.raises((ConfigError, StoreError), match="is not a valid shape key|has no shape"):
            use(key)


def test_unicode_keys(record: ShapeRecord, tmp_path: Path) -> None:
    """Letters of any script, spaces and parentheses are valid in keys."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(replace(record, category="стул", id="Stühlchen (2)"))
    assert store.keys() == ["стул/Stühlchen (2)"]


def test_concurrent_creation_of_category(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A category that another worker creates at the same moment is not an error."""
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


@pytest.mark.parametrize("at", ["moved aside", "written", "written first"])
def test_concurrent_writing_of_shape(
    at: str, record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that write one shape at the same time, neither fails, and the shape is one of theirs."""
    store, first = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING), replace(record, source="first")
    final, move = store.path / "shapes" / record.key, os.replace
    if at != "written first":
        store.write(replace(record, source="earlier"))
    turns = iter([True])

    def beaten(source: Path, target: Path) -> None:
        if (source if at == "moved aside" else target) == final and next(turns, False):
            store.write(first)  # by the other process
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "replace", beaten)
        store.write(replace(record, source="second"))
    assert next(turns, None) is None
    store.verify(record.key)
    assert store.info(record.key).source == "second"
    assert list((store.path / "tmp").iterdir()) == []


def test_shape_that_another_process_moved_aside(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shape that vanishes right before it is replaced, because another process replaces it, is no error."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    final, move = store.path / "shapes" / record.key, os.replace

    def vanish(source: Path, target: Path) -> None:
        if source == final:
            move(final, tmp_path / "elsewhere")
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "replace", vanish)
        store.write(replace(record, source="new"))
    assert store.info(record.key).source == "new"
