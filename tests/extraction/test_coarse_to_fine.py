"""The coarse-to-fine search against dense evaluation."""

import numpy as np
import pytest
import torch
from helpers.fields import noise, torus

from latentsdf.extraction.coarse_to_fine import (
    coarsest_resolution,
    complete_surface_cells,
    evaluate_coarse_to_fine,
    refine_around_zero_set,
    sign_bounds,
)
from latentsdf.extraction.field import FieldSampler, SignedDistance
from latentsdf.extraction.octree import crossing_vertices
from latentsdf.extraction.sparse_lattice import allocate, lookup


def _sampler(field: SignedDistance) -> FieldSampler:
    return FieldSampler("test", field, 0.0, 10_000, "cpu")


def _values(field: SignedDistance, index: np.ndarray, resolution: int) -> np.ndarray:
    return field(torch.from_numpy(index).float() * 2 / resolution - 1).numpy()


@pytest.mark.parametrize(("resolution", "coarsest"), [(16, 16), (64, 32), (100, 50), (256, 32), (1000, 125), (33, 33)])
def test_coarsest_resolution(resolution: int, coarsest: int) -> None:
    """Resolutions are halved as long as the result is an integer >= 32."""
    assert coarsest_resolution(resolution) == coarsest


def test_signs_of_refined_lattices() -> None:
    """On every level all present values have the sign of the field and at most its magnitude."""
    levels = refine_around_zero_set(_sampler(torus), 128, 1.0)
    assert [lattice.resolution for lattice in levels] == [32, 64, 128]
    for lattice in levels:
        present = lattice.vertex_mask() & ~lattice.padding_mask() & ~np.isnan(lattice.value)
        exact = _values(torus, lattice.vertex_indices(present), lattice.resolution)
        assert ((lattice.value[present] < 0) == (exact < 0))[np.abs(exact) > 1e-6].all()
        assert (np.abs(lattice.value[present]) <= np.abs(exact) + 1e-6).all()


def test_exact_ends_and_neighbors_in_completed_lattice() -> None:
    """Ends of sign-changing edges are evaluations, and every vertex around them is present."""
    sampler = _sampler(torus)
    lattice = complete_surface_cells(refine_around_zero_set(sampler, 64, 1.5)[-1], sampler)
    ends = crossing_vertices(lattice)
    assert ends.any() and lattice.exact[ends].all()
    index = lattice.vertex_indices(ends)
    for offset in np.ndindex(3, 3, 3):
        assert not np.isnan(lookup(lattice, index + np.array(offset, dtype=np.int32) - np.int32(1))).any()


@pytest.mark.parametrize(("field", "lipschitz"), [(torus, 1.0), (noise, 1e3)])
def test_signs_of_hierarchical_evaluation(field: SignedDistance, lipschitz: float) -> None:
    """All masked vertices get values of the right sign; with a small Lipschitz constant, many are bounds."""
    lattice = allocate(32)
    mask = lattice.vertex_mask() & ~lattice.padding_mask()
    evaluate_coarse_to_fine(lattice, mask, _sampler(field), lipschitz)
    exact = _values(field, lattice.vertex_indices(mask), 32)
    assert ((lattice.value[mask] < 0) == (exact < 0))[np.abs(exact) > 1e-5].all()
    assert np.array_equal(lattice.exact[mask].all(), lipschitz > 1)


def test_level_of_sign_bounds() -> None:
    """Signs of random vertices match the field wherever a coarse vertex of the same cell has that sign."""
    levels = refine_around_zero_set(_sampler(torus), 128, 1.5)
    index = np.random.default_rng(0).integers(0, 129, (5000, 3)).astype(np.int32)
    bounds, exact = sign_bounds(levels, index, 128), _values(torus, index, 128)
    far = np.abs(exact) > 2 * 3**0.5 / 32
    assert far.mean() > 0.5 and ((bounds < 0) == (exact < 0))[far].all()
    assert (np.abs(bounds) == np.finfo(np.float32).tiny).all()
