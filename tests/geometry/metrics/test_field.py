"""Errors of signed distances with known deviations."""

import math

import numpy as np
import pytest

from latentsdf.geometry.metrics.field import compare_fields


def test_doubled_sphere_distance() -> None:
    """A distance of slope 2 is off by the distance itself, and its eikonal error is 1 where the slope is 2."""
    points = np.random.default_rng(0).uniform(-1, 1, (200_000, 3))
    exact = np.linalg.norm(points, axis=1) - 0.5
    errors = compare_fields(2 * exact, exact, np.where(exact < 0.3, 2.0, 1.0))
    near = np.abs(exact) <= 0.1
    assert errors.iou == 1.0 and errors.near_eikonal == 1.0 and errors.near_smape == pytest.approx(2 / 3)
    assert errors.eikonal == pytest.approx((4 / 3) * math.pi * 0.8**3 / 8, rel=0.01)
    assert errors.near_mae == pytest.approx(np.abs(exact[near]).mean()) and errors.mae > errors.near_mae
    assert compare_fields(exact, exact).as_dict().keys() == errors.as_dict().keys() - {"eikonal", "near_eikonal"}


def test_definitions() -> None:
    """Metrics of four distances match their formulas."""
    exact, predicted = np.array([-0.3, -0.05, 0.05, 0.5]), np.array([-0.1, 0.05, -0.05, 0.5])
    errors = compare_fields(predicted, exact)
    assert errors.iou == pytest.approx(1 / 3)
    assert errors.mae == pytest.approx(0.1) and errors.rmse == pytest.approx(math.sqrt(0.06 / 4))
    assert errors.smape == pytest.approx(2 * (0.2 / 0.4 + 1 + 1) / 4)
    assert errors.near_mae == pytest.approx(0.1) and errors.near_smape == pytest.approx(2)
    assert errors.near_rmse == pytest.approx(0.1)


def test_empty_sets() -> None:
    """Two empty insides agree, and metrics near the surface are NaN without points there."""
    far = np.array([0.5, 0.7])
    errors = compare_fields(far, far, np.ones(2))
    assert errors.iou == 1.0 and errors.mae == 0.0 and errors.eikonal == 0.0
    assert all(math.isnan(value) for name, value in errors.as_dict().items() if name.startswith("near_"))
    zero = compare_fields(np.zeros(1), np.zeros(1))
    assert zero.smape == 0.0
