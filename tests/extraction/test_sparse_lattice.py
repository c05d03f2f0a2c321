"""Sparse lattices against dense arrays."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from latentsdf.extraction.sparse_lattice import SparseLattice, allocate, from_values, lookup


def _dense_mask(lattice: SparseLattice, mask: np.ndarray) -> np.ndarray:
    """A mask as a dense array over storage indices 0 .. R + 2."""
    dense = np.zeros((lattice.resolution + 3,) * 3, dtype=bool)
    dense[tuple((lattice.vertex_indices(mask) + 1).T)] = True
    return dense


@pytest.mark.parametrize("resolution", [16, 21])
def test_vertices_of_full_lattice(resolution: int) -> None:
    """A full lattice has (R + 3)^3 vertices, each index once, and its padding is the outermost layer."""
    lattice = allocate(resolution)
    index = lattice.vertex_indices(lattice.vertex_mask())
    assert len(np.unique(index, axis=0)) == len(index) == (resolution + 3) ** 3
    assert index.min() == -1 and index.max() == resolution + 1
    padding = lattice.vertex_indices(lattice.padding_mask())
    assert len(padding) == (resolution + 3) ** 3 - (resolution + 1) ** 3
    assert ((padding == -1) | (padding == resolution + 1)).any(axis=1).all()


def test_lookup_of_stored_and_absent_values() -> None:
    """Values are found by lattice index; vertices of blocks that are not stored are NaN."""
    wanted = np.zeros((3, 3, 3), dtype=bool)
    wanted[1, 1, 1] = True
    lattice = allocate(16, wanted)
    lattice.value[:] = np.arange(512, dtype=np.float32)
    index = lattice.vertex_indices(np.ones_like(lattice.exact))
    assert np.array_equal(lookup(lattice, index), np.arange(512))
    assert np.isnan(lookup(lattice, np.array([[0, 0, 0], [7, 7, 6]], dtype=np.int32))).all()


def test_lattice_from_values() -> None:
    """A lattice made of values has them, in the blocks that they need, and nothing else."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(36**3, 40, replace=False)
    index = np.stack(np.unravel_index(chosen, (36,) * 3), axis=1).astype(np.int32) - 1  # with the padding, -1 to 34
    value = rng.normal(size=40).astype(np.float32)
    lattice = from_values(33, index, value)
    np.testing.assert_array_equal(lookup(lattice, index), value)
    assert np.count_nonzero(~np.isnan(lattice.value)) == 40
    assert len(lattice.corner) == len(np.unique((index + 1) // 8, axis=0))


@pytest.mark.parametrize(("low", "high", "padding"), [(1, 1, True), (2, 3, False), (0, 1, False)])
def test_dilation_matches_dense_morphology(low: int, high: int, padding: bool) -> None:
    """Sparse dilation equals binary dilation with a box, clipped at the box or its padding, and keeps the values."""
    rng = np.random.default_rng(0)
    wanted = np.zeros((4, 4, 4), dtype=bool)
    wanted[:2, 1:3, 3] = True
    lattice = allocate(24, wanted)
    inside = lattice.vertex_mask() & ~lattice.padding_mask()
    mask = inside & (rng.random(lattice.value.shape) < 0.01)
    lattice.value[mask] = 0.5
    grown, dilated = lattice.dilate(mask, low, high, padding=padding)
    dense = _dense_mask(lattice, mask)
    reach = np.zeros((2 * max(low, high) + 1,) * 3, dtype=bool)
    middle = max(low, high)
    reach[(slice(middle - low, middle + high + 1),) * 3] = True
    expected = binary_dilation(dense, reach)
    if not padding:
        for axis in range(3):
            np.moveaxis(expected, axis, 0)[[0, -1]] = False
    assert np.array_equal(_dense_mask(grown, dilated), expected)
    assert np.array_equal(_dense_mask(grown, grown.value == 0.5), dense)
