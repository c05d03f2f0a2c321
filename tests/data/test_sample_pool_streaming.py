"""Streaming of samples: resident parts, reproducible batches, shares of processes, drawing rules."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.preprocessing import tasks_in_this_process

import latentsdf as ls
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.data.sdf_samples import SampleStrata, load_samples, samples_nbytes
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points
from preprocessing.job import run as preprocess
from preprocessing.sources import procedural

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Twelve lamps of several band chunks each."""
    from latentsdf.data import band_codec

    path = tmp_path_factory.mktemp("many") / "lamps.zarr"
    sampling = SamplingConfig(resolution=32, band_voxels=3, sparse_resolution=16, near=900, uniform=900, surface=10)
    with tasks_in_this_process():
        assert not preprocess(procedural(["lamp"], count=12), path, sampling, workers=1).failed
    store = SampleStore.open(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_codec, "CHUNK_ROWS", 500)
        for key in store:
            store.write(store.read(key))
    assert store.band_chunk_count(store.keys()[0]) > 4
    return store


def _streaming(store: SampleStore, slots: int, **changes: object) -> TrainConfig:
    """Return settings with memory for `slots` shapes at half of their samples."""
    mean = sum(samples_nbytes(store, store.summary(key), lattice=False) for key in store) / len(store)
    settings = {"shapes_per_batch": 2, "points_per_shape": 8, "memory_gb": slots * 0.5 * mean / 1e9}
    return replace(TrainConfig(), **(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch, many: SampleStore) -> None:
    """Limit parts to half a shape."""
    mean = sum(samples_nbytes(many, many.summary(key), lattice=False) for key in many) / len(many)
    monkeypatch.setattr("latentsdf.data.sample_pool._PART_BYTES", 0.5 * mean)
    monkeypatch.setattr("latentsdf.data.sample_pool.REFRESH_STEPS", 3)


def _same(a: SdfBatch, b: SdfBatch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@pytest.mark.usefixtures("halves")
def test_coverage_of_streamed_parts(many: SampleStore) -> None:
    """A pool with memory for part of the shapes shows all shapes, and nearly all samples of each, over time."""
    pool = ShapeSamplePool(many, many.keys(), _streaming(many, 5), LossConfig())
    assert pool.streams and pool.slots == 5 and pool.share == pytest.approx(0.5)
    seen: set[int] = set()
    parts: set[int] = set()
    for step in range(3 * 12 * 8):
        batch = pool.batch(step)
        assert len(set(batch.shape_index.tolist())) == 2
        seen |= set(batch.shape_index.tolist())
        parts |= {part for part in map(pool._part_in, range(5)) if pool._row(part) == 0}
        assert len(pool._parts) == 5
    assert seen == set(range(12))
    pool.close()
    # Shape 0 was resident in one half after another, and together they hold nearly all of it.
    assert len(parts) >= 7
    places = [set(pool._read(part).band_index.tolist()) for part in parts]
    total = many.info(many.keys()[0]).band_samples
    assert all(len(part) < 0.6 * total for part in places) and len(set.union(*places)) > 0.95 * total


@pytest.mark.usefixtures("halves")
def test_reproducibility_of_batches(many: SampleStore) -> None:
    """A pool opened at a later step draws the batches of an uninterrupted one."""
    settings = _streaming(many, 5)
    through = ShapeSamplePool(many, many.keys(), settings, LossConfig())
    batches = [through.batch(step) for step in range(40)]
    for start in (0, 7, 30):
        resumed = ShapeSamplePool(many, many.keys(), settings, LossConfig())
        assert _same(resumed.batch(start), batches[start]) and _same(resumed.batch(start + 5), batches[start + 5])
    other = ShapeSamplePool(many, many.keys(), replace(settings, seed=1), LossConfig())
    assert not _same(other.batch(0), batches[0])


@pytest.mark.usefixtures("halves")
def test_concatenated_batches_of_processes(many: SampleStore) -> None:
    """The batches of two processes concatenate to the batch of one process with twice the size."""
    for settings in (_streaming(many, 6), replace(TrainConfig(), shapes_per_batch=2, points_per_shape=8)):
        alone = ShapeSamplePool(many, many.keys(), replace(settings, shapes_per_batch=4), LossConfig())
        ranks = [
            ShapeSamplePool(many, many.keys(), settings, LossConfig(), rank=rank, world_size=2) for rank in range(2)
        ]
        for step in (0, 1, 13):
            parts = [pool.batch(step) for pool in ranks]
            together = SdfBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))
            assert _same(alone.batch(step), together)
    with pytest.raises(ls.StoreError, match="12 shapes to train on for 13 processes"):
        ShapeSamplePool(many, many.keys(), TrainConfig(), LossConfig(), world_size=13)


def test_epochs_of_resident_shapes(many: SampleStore) -> None:
    """Shapes that fit in memory are read whole, and each is drawn once per epoch."""
    pool = ShapeSamplePool(
        many, many.keys(), replace(TrainConfig(), shapes_per_batch=4, points_per_shape=8), LossConfig()
    )
    assert not pool.streams and pool.slots == 12
    for lap in range(3):
        rows = torch.cat([pool.batch(3 * lap + step).shape_index for step in range(3)])
        assert sorted(rows.tolist()) == list(range(12))
    assert pool.nbytes == sum(part.nbytes for part in pool._parts)


def test_damaged_streamed_shape(many: SampleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape that cannot be read in the background is named by the error."""
    shutil.copytree(many.path, tmp_path / "copy.zarr")
    store = SampleStore.open(tmp_path / "copy.zarr")
    monkeypatch.setattr("latentsdf.data.sample_pool.REFRESH_STEPS", 1)
    settings = _streaming(store, 5)
    pool = ShapeSamplePool(store, store.keys(), settings, LossConfig())
    pool.batch(0)
    for key in store:
        shutil.rmtree(store.path / "shapes" / key / "near" / "c")
    with pytest.raises(ls.StoreError, match=r"shape 'lamp/lamp_\d+' is damaged"):
        for step in range(1, 12):
            pool.batch(step)


def test_shares_of_sign_and_near_draws(many: SampleStore) -> None:
    """`signs` draws half inside; `near` draws half near the surface and a quarter on each side."""
    rng = np.random.default_rng(0)
    for how, inside, near in (("signs", 0.5, None), ("near", None, 0.5)):
        shape = load_samples(many, many.keys()[0], 1.0, how, rng, lattice=True)  # type: ignore[arg-type]
        assert len(shape.band_index) == many.info(many.keys()[0]).band_samples + 17**3
        distance = shape.draw_offsurface(4000, how, rng)[:, 3]  # type: ignore[arg-type]
        _, band_distance = shape.draw_band(4000, how, rng)  # type: ignore[arg-type]
        for found in (distance.numpy(), band_distance.numpy()):
            if inside is not None:
                assert np.mean(found < 0) == inside
            if near is not None:
                # Half is drawn near the surface; draws by sign can be near as well.
                assert np.mean(np.abs(found) <= 0.1) >= near
                assert np.mean(found < 0) >= 0.25 and np.mean(found >= 0) >= 0.25
    assert torch.all(SampleStrata((0, 0, 5, 5)).draw(100, "signs", rng) < 5)  # nothing is inside


def test_share_of_surface_draw(many: SampleStore) -> None:
    """`surface` draws half of the band samples within a cell of the surface, and free space uniformly."""
    rng, cell = np.random.default_rng(0), 2 / 32
    shape = load_samples(many, many.keys()[0], 1.0, "surface", rng)
    beside = (shape.band_distance.abs() <= cell).float().mean().item()
    _, distance = shape.draw_band(8000, "surface", rng)
    assert beside < 0.6 and torch.all(distance[4000:].abs() <= cell)
    assert (distance[:4000].abs() <= cell).float().mean().item() == pytest.approx(beside, abs=0.03)
    free = shape.draw_offsurface(8000, "surface", rng)[:, 3]  # these are drawn alike
    assert free.abs().mean().item() == pytest.approx(shape.offsurface[:, 3].abs().mean().item(), rel=0.05)


def test_samples_on_device_with_free_memory(many: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are kept on the device if they fit in half of its free memory (the meta device replaces a GPU)."""
    settings, device = _streaming(many, 5), torch.device("meta")
    for free, holds in ((3, "meta"), (1, "cpu")):
        whole = sum(samples_nbytes(many, many.summary(key), lattice=False) for key in many)
        monkeypatch.setattr("latentsdf.data.sample_pool.free_gpu_memory", lambda _, free=free * whole: free)
        pool = ShapeSamplePool(many, many.keys(), settings, LossConfig(), device=device)
        assert pool.streams == (holds == "cpu")
        pool.fill(0)
        assert {part.band_index.device.type for part in pool._parts} == {holds}
        pool.close()


def test_box_points_of_regularizers(many: SampleStore) -> None:
    """Each regularizer of the general branch receives its points in the box."""
    settings = replace(TrainConfig(), shapes_per_batch=2, points_per_shape=8)
    for term in ("eikonal", "directional_divergence", "lipschitz", "heat"):
        loss = LossConfig(**{term: 0.1, "regularizer_points": 7})  # type: ignore[arg-type]
        batch = ShapeSamplePool(many, many.keys(), settings, loss).batch(0)
        uniform, mixture = (0, 8) if term == "heat" else (7, 0)
        assert batch.box_points.shape == (2, uniform, 3) and batch.heat_points.shape == (2, mixture, 3)


def test_sparse_lattice_samples_in_band(many: SampleStore) -> None:
    """Sparse lattice samples join the band at their positions with their distances."""
    key = many.keys()[0]
    shape = load_samples(many, key, 1.0, "near", np.random.default_rng(0), lattice=True)
    places = lattice_points(shape.band_index.numpy(), 32)
    on_lattice = np.flatnonzero(np.all(np.abs(places * 8 - np.rint(places * 8)) < 1e-6, axis=1))
    where = tuple(np.rint((places[on_lattice].T + 1) * 8).astype(int))
    np.testing.assert_allclose(shape.band_distance.numpy()[on_lattice], many.sparse_distance(key)[where], atol=2e-3)
    assert len(on_lattice) >= 17**3


@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize("streamed", [False, True])
def test_parts_that_are_read_later(streamed: bool, many: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are the same whether all parts are read before the first step, or only the first one."""
    train = _streaming(many, 6) if streamed else replace(TrainConfig(), shapes_per_batch=2, points_per_shape=8)
    pools = [ShapeSamplePool(many, many.keys(), train, LossConfig()) for _ in range(2)]
    assert pools[0].streams == streamed
    pools[0].fill(0)
    monkeypatch.setattr("latentsdf.data.sample_pool._EAGER_PARTS", 1)
    monkeypatch.setattr("latentsdf.data.sample_pool._EAGER_SECONDS", 0.0)
    pools[1].fill(0)
    assert sum(part is not None for part in pools[1]._parts) < pools[1].slots
    for step in (*range(20), 60, 61):
        assert _same(pools[0].batch(step), pools[1].batch(step))
    for pool in pools:
        pool.close()
