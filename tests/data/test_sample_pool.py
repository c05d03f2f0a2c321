"""Tests of the sample pool: resident parts, distinct shapes, determinism, distributed batches."""

import itertools
from dataclasses import replace

import pytest
import torch
from helpers.settings import SMALL_SAMPLING

from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data import sample_pool
from latentsdf.data.records import ShapeRecord
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.data.sdf_samples import samples_nbytes
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import StoreError


@pytest.fixture(scope="module")
def store(record: ShapeRecord, tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Store with one lamp under eight keys."""
    store = SampleStore.create(tmp_path_factory.mktemp("data") / "s.zarr", SMALL_SAMPLING)
    for number in range(8):
        store.write(replace(record, id=f"{number}"))
    return store


@pytest.fixture
def streaming(store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Settings with memory for four parts of half a shape each."""
    mean = samples_nbytes(store, store.summary("lamp/0"), lattice=False)
    monkeypatch.setattr(sample_pool, "_PART_BYTES", 0.5 * mean)
    monkeypatch.setattr(sample_pool, "REFRESH_STEPS", 3)
    return TrainConfig(shapes_per_batch=2, points_per_shape=16, memory_gb=2.01 * mean / 1e9, draw="even")


def _equal(one: SdfBatch, two: SdfBatch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in vars(one))


def test_resident_shapes_within_memory(store: SampleStore) -> None:
    """Without a memory shortage every shape is resident, and an epoch visits each one once."""
    pool = ShapeSamplePool(store, store.keys(), TrainConfig(shapes_per_batch=2, points_per_shape=16), LossConfig())
    assert not pool.streams and pool.slots == 8 and pool.share == 1
    visited = [row for step in range(4) for row in pool.batch(step).shape_index.tolist()]
    assert sorted(visited) == list(range(8)) and pool.epoch(4) == 1
    assert pool.nbytes == sum(part.nbytes for part in pool._parts)
    pool.close()


def test_replacement_of_oldest_part(store: SampleStore, streaming: TrainConfig) -> None:
    """Four parts of distinct shapes are resident, one is replaced every `REFRESH_STEPS` steps, all shapes appear."""
    pool = ShapeSamplePool(store, store.keys(), streaming, LossConfig())
    assert pool.streams and pool.slots == 4 and pool.share == pytest.approx(0.5)
    seen: set[int] = set()
    resident: list[set[int]] = []
    for step in range(24):
        rows = pool.batch(step).shape_index.tolist()
        assert len(set(rows)) == 2
        seen |= set(rows)
        resident.append({pool._row(pool._part_in(slot)) for slot in range(pool.slots)})
        assert len(resident[-1]) == 4 and set(rows) <= resident[-1]
    changes = [len(after - before) for before, after in itertools.pairwise(resident)]
    assert changes == [int((step + 1) % 3 == 0) for step in range(23)]
    assert seen == set(range(8))
    pool.close()


@pytest.mark.slow
def test_batches_of_resumed_run(store: SampleStore, streaming: TrainConfig) -> None:
    """A pool that starts at a later step draws the batches of an uninterrupted one; another seed draws others."""
    first = ShapeSamplePool(store, store.keys(), streaming, LossConfig())
    batches = [first.batch(step) for step in range(20)]
    for start in (1, 13, 17):
        resumed = ShapeSamplePool(store, store.keys(), streaming, LossConfig())
        assert _equal(resumed.batch(start), batches[start])  # type: ignore[arg-type]
        resumed.close()
    other = ShapeSamplePool(store, store.keys(), replace(streaming, seed=1), LossConfig())
    assert not _equal(other.batch(0), batches[0])  # type: ignore[arg-type]
    first.close()
    other.close()


def test_batch_shares_of_processes(store: SampleStore) -> None:
    """The batches of two processes are the two halves of the batch of one process."""
    train = TrainConfig(shapes_per_batch=2, points_per_shape=16)
    whole = ShapeSamplePool(store, store.keys(), replace(train, shapes_per_batch=4), LossConfig())
    ranks = [ShapeSamplePool(store, store.keys(), train, LossConfig(), rank=rank, world_size=2) for rank in range(2)]
    for step in range(3):
        parts = [pool.batch(step) for pool in ranks]
        joined = SdfBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))
        assert _equal(joined, whole.batch(step))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="8 shapes to train on for 9 processes"):
        ShapeSamplePool(store, store.keys(), train, LossConfig(), world_size=9)
