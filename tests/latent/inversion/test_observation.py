"""Observations of meshes and point clouds."""

import numpy as np
import pytest
import trimesh

from latentsdf.latent.inversion.observation import observe, orient_observation


def test_sheet_distances() -> None:
    """A sheet is observed as the slab that preprocessing stores."""
    corners = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [0, 0, 0]]
    mesh = trimesh.Trimesh(corners, [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], process=False)
    seen = observe(mesh, samples=2000)
    half, points = seen.similarity.to_model(np.ones((1, 3)))[0, 0], seen.points.astype(np.float64)
    aside = np.maximum(np.abs(points[:, :2]) - half, 0)
    truth = np.sqrt((aside**2).sum(1) + points[:, 2] ** 2) - 3 / 512
    np.testing.assert_allclose(seen.low, truth, atol=1e-6)
    np.testing.assert_array_equal(seen.low, seen.high)
    assert (truth < 0).sum() > 400


@pytest.mark.slow
def test_orientation_of_sphere_points() -> None:
    """Outward directions of a fit add exact distances on both sides of a sphere."""
    ball = np.asarray(trimesh.sample.sample_surface(trimesh.creation.icosphere(5, 0.6), 2000, seed=0)[0])
    seen = observe(ball, "none")
    assert seen.cloud is not None and len(seen.cloud.points) == 2000
    radial = (seen.cloud.points / np.linalg.norm(seen.cloud.points, axis=1, keepdims=True)).astype(np.float32)
    known = orient_observation(seen, radial)
    fresh = slice(len(seen.points), None)
    assert len(known.points[fresh]) > 3000 and np.array_equal(known.low[fresh], known.high[fresh])
    turned = orient_observation(seen, -radial)
    for found, sign in ((known, 1), (turned, -1)):
        exact = np.linalg.norm(found.points[fresh], axis=1) - 0.6
        assert np.abs(sign * found.low[fresh] - exact).max() < 2e-3
    # Where the fit's normal and the tangent plane disagree, no distances are added.
    tangent = np.cross(radial, [0.0, 0.0, 1.0]).astype(np.float32)
    assert len(orient_observation(seen, tangent).points) < len(seen.points) + 100
    for given in (np.hstack((ball, radial)), trimesh.creation.icosphere(3, 0.6)):
        assert observe(given, "none").cloud is None
    assert observe(ball, "none", partial=True).cloud is None
