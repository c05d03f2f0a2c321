"""Spectral Poisson reconstruction of indicator functions."""

import math

import numpy as np
import pytest
from helpers.points import circle_points, sphere_points

from latentsdf.geometry.pointcloud.poisson_indicator import PoissonIndicator


def _ball(dim: int) -> tuple[np.ndarray, np.ndarray]:
    points = circle_points(4000, 0.6) if dim == 2 else sphere_points(8000, 0.6)
    area = 2 * math.pi * 0.6 / 4000 if dim == 2 else 4 * math.pi * 0.36 / 8000
    return points, points / 0.6 * area


@pytest.mark.parametrize("dim", [2, 3])
def test_unit_jump_across_ball(dim: int) -> None:
    """The indicator of a ball rises by 1 from inside to outside and changes sign at the surface."""
    points, vectors = _ball(dim)
    chi = PoissonIndicator(points, vectors, 64, 1.25)
    inside, outside = chi(0.4 * points), chi(1.6 * points)
    assert np.allclose(outside.mean() - inside.mean(), 1, atol=0.02)
    assert (inside < -0.3).all() and (outside > 0.3).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_linearity_and_period(dim: int) -> None:
    """The indicator is linear in the vectors and periodic in the box."""
    points, vectors = _ball(dim)
    queries = np.random.default_rng(0).uniform(-1, 1, (100, dim))
    chi, reversed_chi = (PoissonIndicator(points, sign * vectors, 32, 1.25) for sign in (1, -1))
    np.testing.assert_allclose(chi(queries), -reversed_chi(queries), atol=1e-5)
    np.testing.assert_allclose(chi(queries), chi(queries + 2.5), atol=1e-5)
