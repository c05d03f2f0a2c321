"""Lattice indexing against explicit loops over the vertices."""

import itertools

import numpy as np
import pytest

from latentsdf.geometry import lattice
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize("resolution", [1, 4, 7])
def test_lattice_indexing_matches_nested_loops(resolution):
    """Linear index, integer coordinates and position agree with three nested loops, i outermost."""
    vertices = np.array(list(itertools.product(range(resolution + 1), repeat=3)))
    index = np.arange(len(vertices), dtype=np.uint32)
    np.testing.assert_array_equal(lattice.vertex_coordinates(index, resolution), vertices)
    np.testing.assert_array_equal(lattice.linear_index(vertices, resolution), index)
    positions = lattice.lattice_positions(index, resolution)
    np.testing.assert_allclose(positions, [[2 * a / resolution - 1 for a in v] for v in vertices], atol=1e-15)
    np.testing.assert_array_equal(lattice.lattice_points(index, resolution), positions.astype(np.float32))
    assert np.prod(lattice.lattice_shape(resolution)) == len(vertices)


def test_lattice_points_of_selected_vertices():
    """Positions are float32, and the last axis varies fastest."""
    points = lattice.lattice_points(np.array([0, 1, 5, 25, 124]), 4)
    np.testing.assert_array_equal(points, [[-1, -1, -1], [-1, -1, -0.5], [-1, -0.5, -1], [-0.5, -1, -1], [1, 1, 1]])
    assert points.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lattice_units_round_trip(dtype):
    """Model space to lattice units and back is the identity up to rounding, and the data type is kept."""
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(dtype)
    units = lattice.to_lattice_units(points, 12)
    assert units.dtype == dtype and units.min() >= 0 and units.max() <= 12
    np.testing.assert_allclose(lattice.from_lattice_units(units.astype(np.float64), 12), points, atol=1e-6)


def test_largest_resolution():
    """The last vertex of the largest lattice has a uint32 index; one cell more per axis overflows."""
    lattice.check_resolution(lattice.MAX_RESOLUTION)
    assert (lattice.MAX_RESOLUTION + 1) ** 3 <= 2**32 < (lattice.MAX_RESOLUTION + 2) ** 3
    for resolution in (0, lattice.MAX_RESOLUTION + 1):
        with pytest.raises(ConfigError, match=f"resolution must be 1 to 1624 cells per axis, got {resolution}"):
            lattice.check_resolution(resolution)


def test_linear_index_outside_lattice():
    """Coordinates beyond the last vertex do not wrap around."""
    with pytest.raises(ValueError, match="invalid entry"):
        lattice.linear_index(np.array([[0, 0, 5]]), 4)


def test_band_width_in_cells():
    """Three cells of a lattice of 64 cells per axis are 3 * 2 / 64 wide."""
    assert lattice.band_width(64, 3.0) == 3 * lattice.cell_size(64) == 0.09375
