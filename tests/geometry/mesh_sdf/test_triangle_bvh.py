"""Closest points of the hierarchy against every face."""

import numpy as np
import pytest
from helpers.meshes import MESHES

from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleBVH
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle


@pytest.mark.parametrize("shape", MESHES)
def test_closest_points_match_brute_force(shape):
    """Distance and closest point equal the minimum over all faces, inside the mesh and far outside."""
    corners = np.ascontiguousarray(MESHES[shape]().triangles, dtype=np.float64)
    points = np.random.default_rng(3).uniform(-3, 3, (150, 3))
    distance, face, closest = TriangleBVH(corners).closest(points)
    every = np.array([[closest_point_on_triangle(*p, corners, f) for f in range(len(corners))] for p in points])
    np.testing.assert_allclose(distance, np.sqrt(every[:, :, 0].min(1)), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), distance, rtol=1e-12)
    at_face = every[np.arange(len(points)), face]
    np.testing.assert_array_equal(np.sqrt(at_face[:, 0]), distance)
    np.testing.assert_array_equal(at_face[:, 2:], closest)


@pytest.mark.parametrize("count", [1, 4, 5, 37])
def test_hierarchy_of_few_faces(count):
    """Every face is stored once, and the root box contains all corners."""
    corners = np.random.default_rng(count).normal(size=(count, 3, 3))
    bvh = TriangleBVH(corners)
    np.testing.assert_array_equal(np.sort(bvh.order), np.arange(count))
    np.testing.assert_array_equal(bvh.boxes[0], [corners.min((0, 1)), corners.max((0, 1))])
    assert len(bvh.closest(np.zeros((0, 3)))[0]) == 0
