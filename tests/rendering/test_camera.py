"""The orthographic camera against its closed form."""

import numpy as np
import pytest

from latentsdf.rendering.camera import Camera


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (35, 20), (-120, 75), (270, -10)])
def test_orthonormal_right_handed_orbit_axes(azimuth: float, elevation: float) -> None:
    """Right, up and backward form a right-handed orthonormal frame, and the image stays upright."""
    camera = Camera.orbit(azimuth, elevation, np.zeros(3), 1.0)
    frame = np.stack((camera.right, camera.up, -camera.forward))
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1)
    assert camera.right[1] == 0 and camera.up[1] > 0


@pytest.mark.parametrize(
    ("azimuth", "elevation", "forward"), [(0, 0, (0, 0, -1)), (90, 0, (-1, 0, 0)), (0, 90, (0, -1, 0))]
)
def test_orbit_viewing_directions(azimuth: float, elevation: float, forward: tuple[float, float, float]) -> None:
    """Azimuth 0 views the +z side, azimuth 90 the +x side, and elevation 90 the top."""
    np.testing.assert_allclose(Camera.orbit(azimuth, elevation, np.zeros(3), 1.0).forward, forward, atol=1e-12)


def test_order_and_origin_of_rays() -> None:
    """Rays are parallel, in scanline order, and start in front of the center."""
    center = np.array([0.1, 0.2, 0.3])
    origins, directions = Camera.orbit(0, 0, center, 2.0).rays(4)
    assert origins.shape == directions.shape == (16, 3)
    np.testing.assert_allclose(origins[0], center + np.array((-1.5, 1.5, 6.0)))
    np.testing.assert_allclose(origins[3], center + np.array((1.5, 1.5, 6.0)))
    np.testing.assert_allclose(origins[-1], center + np.array((1.5, -1.5, 6.0)))
    assert (directions == directions[0]).all()


def test_projection_of_ray_points() -> None:
    """Every point of a ray projects to the pixel of the ray, at its depth in extents."""
    camera, size = Camera.orbit(35, 20, np.array([0.1, -0.2, 0.05]), 1.5), 7
    origins, directions = camera.rays(size)
    traveled = np.random.default_rng(0).uniform(0, 6, len(origins))
    column, row, depth = camera.project(origins + traveled[:, None] * directions, size)
    np.testing.assert_array_equal(row * size + column, np.arange(size**2))
    np.testing.assert_allclose(depth, traveled / 1.5 - 3)
