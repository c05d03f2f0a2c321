"""Tests of signed distance samples in memory: stratified draws, partial loading, the sparse lattice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import SMALL_SAMPLING

from latentsdf.data import band_codec
from latentsdf.data.records import ShapeRecord
from latentsdf.data.sdf_samples import NEAR_DISTANCE, SampleStrata, load_samples, samples_nbytes
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points
from latentsdf.utils.errors import StoreError


@pytest.mark.parametrize(("how", "inside", "near"), [("signs", 0.5, None), ("near", None, 0.5)])
def test_allocation_to_strata(how: str, inside: float | None, near: float | None) -> None:
    """`signs` draws exactly half inside; `near` draws at least half near and a quarter of each sign."""
    strata = SampleStrata((1000, 1100, 1300, 5000))
    pick = strata.draw(4000, how, np.random.default_rng(0)).numpy()  # type: ignore[arg-type]
    assert pick.min() >= 0 and pick.max() < 5000
    if inside is not None:
        assert np.mean(pick < 1100) == inside
    if near is not None:
        assert np.mean((pick >= 1000) & (pick < 1300)) >= near
        assert np.mean(pick < 1100) >= 0.25 and np.mean(pick >= 1100) >= 0.25


def test_replacement_of_empty_strata() -> None:
    """Draws from an empty stratum go to the near samples, or to all samples if there are none near."""
    rng = np.random.default_rng(0)
    assert torch.all(SampleStrata((0, 0, 5, 50)).draw(1000, "signs", rng)[:500] < 5)
    assert len(torch.unique(SampleStrata((0, 0, 0, 50)).draw(1000, "near", rng))) == 50


def test_strata_of_loaded_samples(lamp_store: SampleStore) -> None:
    """The order by stratum separates signs and distances exactly."""
    shape = load_samples(lamp_store, "lamp/a", 1.0, "near", np.random.default_rng(0))
    for distance, strata in (
        (shape.band_distance, shape.band_strata),
        (shape.offsurface[:, 3], shape.offsurface_strata),
    ):
        far_inside, near_inside, near_outside, end = strata.ends
        assert end == len(distance)
        assert torch.all(distance[:near_inside] < 0) and torch.all(distance[near_inside:] >= 0)
        near = distance.abs() <= NEAR_DISTANCE
        assert torch.all(near[far_inside:near_outside])
        assert not near[:far_inside].any() and not near[near_outside:].any()


def test_whole_shape_matches_store(lamp_store: SampleStore) -> None:
    """A share of 1 loads every stored sample once, and the predicted memory is exact."""
    shape = load_samples(lamp_store, "lamp/a", 1.0, "even", np.random.default_rng(0))
    samples = lamp_store.read("lamp/a").samples
    order = np.argsort(shape.band_index.numpy())
    assert np.array_equal(shape.band_index.numpy()[order], samples.band_index)
    assert np.array_equal(shape.band_distance.numpy()[order], samples.band_distance)
    assert len(shape.offsurface) == len(samples.near) + len(samples.uniform)
    assert shape.nbytes == samples_nbytes(lamp_store, lamp_store.summary("lamp/a"), lattice=False)


def test_random_subset_of_partial_shape(record: ShapeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share below 1 loads that fraction of the band chunks and off-surface samples, without duplicates."""
    monkeypatch.setattr(band_codec, "CHUNK_ROWS", 500)
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(record)
    shape = load_samples(store, record.key, 0.25, "even", np.random.default_rng(0))
    total = len(record.samples.band_index)
    assert abs(len(shape.band_index) / total - 0.25) < 500 / total
    assert len(torch.unique(shape.band_index)) == len(shape.band_index)
    assert len(shape.offsurface) == 2000


def test_lattice_vertices_in_band(lamp_store: SampleStore) -> None:
    """With `lattice`, the vertices of the sparse lattice are added at their places in the dense lattice."""
    shape = load_samples(lamp_store, "lamp/a", 1.0, "even", np.random.default_rng(0), lattice=True)
    added = lamp_store.info("lamp/a").band_samples
    points = lattice_points(shape.band_index.numpy()[added:], SMALL_SAMPLING.resolution)
    cells = SMALL_SAMPLING.sparse_resolution
    expected = lattice_points(np.arange((cells + 1) ** 3), cells)
    np.testing.assert_allclose(points, expected, atol=1e-6)
    assert np.array_equal(
        shape.band_distance.numpy()[added:], lamp_store.sparse_distance("lamp/a").ravel().astype(np.float32)
    )
    assert shape.nbytes == samples_nbytes(lamp_store, lamp_store.summary("lamp/a"), lattice=True)


def test_shape_without_near_samples(lamp_store: SampleStore, tmp_path: Path) -> None:
    """A shape with neither band nor samples within the band width is rejected with its key."""
    far = SampleStore.create(tmp_path / "t.zarr", SMALL_SAMPLING)
    record = lamp_store.read("lamp/a")
    none = {"band_index": np.empty(0, np.uint32), "band_distance": np.empty(0, np.float32)}
    there = np.ones((9, 4), np.float32)
    far.write(replace(record, samples=replace(record.samples, near=there, uniform=there, **none)))
    with pytest.raises(StoreError, match="shape 'lamp/a' has neither a band nor a sample within 0.0938 of its surface"):
        load_samples(far, "lamp/a", 1.0, "even", np.random.default_rng(0))
