"""The sample store: round trip, atomic writes, damage and version errors."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_SAMPLING

from latentsdf import store as store_module
from latentsdf.errors import ConfigError, StoreError
from latentsdf.geometry.furniture import furniture
from latentsdf.geometry.mesh import normalize
from latentsdf.geometry.sampling import sample
from latentsdf.store import SampleStore, ShapeRecord


@pytest.fixture(scope="module")
def record() -> ShapeRecord:
    mesh, similarity = normalize(furniture("lamp", 0))
    return ShapeRecord("lamp", "a.b-1", sample(mesh, SMALL_SAMPLING, 0), similarity, "x", "y", True, mesh.area, 7)


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
    monkeypatch.setattr(store_module, "STRATUM_ROWS", 2000)
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    whole_index, whole = record.samples.band_index, record.samples.band_distance
    for stratum in range(store.band_strata(record.key) - 1):
        index, distance = store.band(record.key, [stratum])
        assert len(index) == 2000 and (np.diff(index.astype(np.int64)) > 0).all()
        spread = whole.std() / np.sqrt(2000)
        assert abs(distance.mean() - whole.mean()) < 5 * spread
        assert abs(np.median(index) - np.median(whole_index)) < 0.1 * np.ptp(whole_index)


def test_a_write_that_fails_leaves_nothing_and_a_full_disk_is_named(
    record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_read_all", full)
        with pytest.raises(StoreError, match=r"s\.zarr: the disk is full; shapes written before are complete"):
            store.write(record)
    assert store.keys() == []
    assert list((tmp_path / "s.zarr" / "tmp").iterdir()) == []
    store.write(record)
    assert store.keys() == [record.key]


def test_damage_names_the_shape(record: ShapeRecord, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    shard = max(
        (tmp_path / "s.zarr" / "shapes" / "lamp" / "a.b-1" / "band_sdf").rglob("c/*"), key=lambda p: p.stat().st_size
    )
    content = bytearray(shard.read_bytes())
    content[100] ^= 0xFF
    shard.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="shape 'lamp/a.b-1' is damaged .* to rebuild it"):
        store.verify(record.key)
    with pytest.raises(StoreError, match="lamp/a.b-1"):
        store.band(record.key)


def test_other_settings_versions_and_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    SampleStore.create(path, SMALL_SAMPLING)
    with pytest.raises(StoreError, match=r"other settings: near \(4000 there, 5 now\)"):
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


@pytest.mark.parametrize("key", ["../x", "a/../b", "a/", "/a", "a", "a/.hidden", "a/b/c"])
def test_keys_that_are_no_plain_names_are_refused(key: str, tmp_path: Path) -> None:
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    with pytest.raises(ConfigError, match="is no shape key"):
        assert key not in store
