"""PCA normal estimation."""

import numpy as np
import pytest
from helpers.points import circle_points, sphere_points
from scipy.spatial import cKDTree

from latentsdf.geometry.pointcloud.normals import estimate_normals


@pytest.mark.parametrize("points", [circle_points(500), sphere_points(4000)], ids=["circle", "sphere"])
def test_radial_normals(points: np.ndarray) -> None:
    """Normals of circles and spheres are radial up to their sign, and have unit length."""
    normals = estimate_normals(points, cKDTree(points).query(points, k=12)[1])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-12)
    assert (np.abs((normals * points).sum(1)) / 0.8 > 0.98).mean() > 0.99


def test_plane_normals_after_rotation() -> None:
    """Normals of coplanar points are exact in any frame."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    flat = np.column_stack((rng.uniform(size=(100, 2)), np.zeros(100)))
    neighbors = rng.integers(100, size=(7, 9))
    normals = estimate_normals(flat @ rotation.T, neighbors)
    assert normals.shape == (7, 3)
    np.testing.assert_allclose(np.abs(normals @ rotation), np.broadcast_to([0, 0, 1], (7, 3)), atol=1e-7)
