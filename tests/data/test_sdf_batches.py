"""Tests of batches of signed distance samples: positions, sizes, device transfer and single-shape batches."""

import numpy as np
import torch

from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.sdf_batches import BatchSizes, SdfSource, draw_batch
from latentsdf.data.sdf_samples import load_samples
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points


def test_stored_samples_in_batch(lamp_store: SampleStore) -> None:
    """Every drawn pair of point and distance is a sample of the store."""
    key, sizes = "lamp/a", BatchSizes(band=300, offsurface=200, box=7, heat=4)
    shape = load_samples(lamp_store, key, 1.0, "near", np.random.default_rng(0))
    resolution = lamp_store.config.resolution
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    batch = draw_batch([shape, shape], [5, 3], sizes, resolution, "near", generators)
    assert batch.shape_index.tolist() == [5, 3]
    assert batch.box_points.shape == (2, 7, 3) and batch.heat_points.shape == (2, 4, 3)
    samples = lamp_store.read(key).samples
    points = lattice_points(samples.band_index, resolution)
    band = {(*point, value) for point, value in zip(points.tolist(), samples.band_distance.tolist(), strict=True)}
    offsurface = set(map(tuple, np.concatenate([samples.near, samples.uniform]).tolist()))
    for row in range(2):
        drawn = torch.cat([batch.band_points[row], batch.band_distance[row, :, None]], dim=1)
        assert set(map(tuple, drawn.tolist())) <= band
        drawn = torch.cat([batch.offsurface_points[row], batch.offsurface_distance[row, :, None]], dim=1)
        assert set(map(tuple, drawn.tolist())) <= offsurface
    assert not torch.equal(batch.band_points[0], batch.band_points[1])


def test_box_points_only_for_enabled_terms(lamp_store: SampleStore) -> None:
    """Uniform points are drawn for regularizers of the general branch, mixture points for its heat term."""
    train = TrainConfig(points_per_shape=8)
    for term, box, heat in (("eikonal", 7, 0), ("lipschitz", 7, 0), ("heat", 0, 8), ("code", 0, 0)):
        loss = LossConfig(**{term: 0.1, "regularizer_points": 7})  # type: ignore[arg-type]
        source = SdfSource(lamp_store, train, loss)
        shape = source.read("lamp/a", 1.0, np.random.default_rng(0))
        batch = source.draw([shape], [0], [np.random.default_rng(0)])
        assert batch.box_points.shape == (1, box, 3) and batch.heat_points.shape == (1, heat, 3)


def test_source_memory_estimate(lamp_store: SampleStore) -> None:
    """The memory that a source announces is that of the samples it reads."""
    source = SdfSource(lamp_store, TrainConfig(), LossConfig())
    shape = source.read("lamp/b.1", 1.0, np.random.default_rng(0))
    assert source.nbytes("lamp/b.1", lamp_store.summary("lamp/b.1")) == shape.nbytes
