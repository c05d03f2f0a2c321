"""Scan conversion of simple convex regions against direct evaluation at every lattice vertex."""

import numpy as np
import pytest
from helpers.meshes import vertex_positions

from latentsdf.geometry.mesh_sdf.scan_conversion import (
    Region,
    Slab,
    collect_band,
    empty_block_store,
    scan_convert_region,
)

RESOLUTION, BAND = 20, 6.5
APEX = np.array([9.3, 10.1, 9.8])
DIAGONAL = np.ones(3) / np.sqrt(3)


def ball_region(planes):
    """Region of the points within the band width of `APEX`, cut by half-spaces (M, 4)."""
    corners = np.zeros((3, 3))
    corners[0] = APEX
    rays = np.array([[-1.0] * 3, [1.0] * 3])
    return Region(corners, np.full(3, -BAND), np.full(3, BAND), rays, planes, np.empty((max(len(planes), 1), 4)))


def lattice_vertices():
    """All vertices in lattice units, (N, 3)."""
    return np.rint((vertex_positions(np.arange((RESOLUTION + 1) ** 3), RESOLUTION) + 1) * (RESOLUTION / 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "planes",
    [np.zeros((0, 4)), np.array([[*DIAGONAL, DIAGONAL @ APEX]]), np.hstack([np.eye(3), APEX[:, None]])],
    ids=["ball", "half ball", "octant"],
)
def test_vertices_of_cone_region(planes):
    """A ball, a half ball and an octant have all their vertices, with the distance to the apex."""
    store = scan_convert_region(
        ball_region(planes), 1, len(planes), (0.0, 0.0, 0.0), 7, Slab(RESOLUTION, BAND, 0, 21), empty_block_store(20)
    )
    index, distance, face = collect_band(store, RESOLUTION, BAND)
    x = lattice_vertices()
    expected = (np.linalg.norm(x - APEX, axis=1) <= BAND) & (x @ planes[:, :3].T <= planes[:, 3]).all(1)
    np.testing.assert_array_equal(index, np.flatnonzero(expected))
    np.testing.assert_allclose(distance, np.linalg.norm(x[index] - APEX, axis=1), rtol=1e-6)
    assert (face == 7).all()


@pytest.mark.slow
def test_planes_updated_in_slab():
    """Only planes begin <= i < end are updated, and an earlier smaller distance is kept."""
    region = ball_region(np.zeros((0, 4)))
    store = scan_convert_region(region, 1, 0, (0.0, 0.0, 0.0), 1, Slab(RESOLUTION, BAND, 8, 11), empty_block_store(20))
    region.corners[0] += 0.5
    store = scan_convert_region(region, 1, 0, (0.0, 0.0, 0.0), 2, Slab(RESOLUTION, BAND, 8, 11), store)
    index, distance, face = collect_band(store, RESOLUTION, BAND)
    x = lattice_vertices()[index]
    assert set(x[:, 0]) == {8, 9, 10}
    each = np.stack([np.linalg.norm(x - APEX, axis=1), np.linalg.norm(x - APEX - 0.5, axis=1)])
    np.testing.assert_allclose(distance, each.min(0), rtol=1e-6)
    np.testing.assert_array_equal(face, each.argmin(0) + 1)
