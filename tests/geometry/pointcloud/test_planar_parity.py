"""Normal orientation of planar curves by the even-odd rule."""

import numpy as np
import pytest
from helpers.points import circle_points

from latentsdf.geometry.pointcloud.planar_parity import orient_planar_normals


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_concentric_circles(sign: float) -> None:
    """Normals alternate between nested circles for all initial signs."""
    radii = (0.9, 0.6, 0.3)
    circles = [circle_points(round(3000 * radius), radius, seed) for seed, radius in enumerate(radii)]
    points = np.concatenate(circles)
    radial = points / np.linalg.norm(points, axis=1, keepdims=True)
    start = sign * np.random.default_rng(0).choice((-1, 1), (len(points), 1)) * radial
    normals, decided = orient_planar_normals(points, start, np.full(len(points), 0.01), 1.25)
    expected = np.concatenate([np.full(len(c), s) for c, s in zip(circles, (1, -1, 1), strict=True)])
    assert decided.mean() > 0.99
    np.testing.assert_allclose((normals * radial).sum(1)[decided], expected[decided])


def test_open_curve_undecided() -> None:
    """The two sides of an open curve belong to one region, so no orientation is decided."""
    points = np.stack((np.linspace(-0.5, 0.5, 500), np.zeros(500)), axis=1)
    start = np.broadcast_to([0.0, 1.0], (500, 2))
    normals, decided = orient_planar_normals(points, start, np.full(500, 0.01), 1.25)
    assert not decided.any() and np.array_equal(normals, start)
