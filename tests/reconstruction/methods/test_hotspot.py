"""Settings of HotSpot."""

import pytest
from helpers.presets import network_size

from latentsdf.config.schedules import is_used, schedule_value
from latentsdf.reconstruction.methods import hotspot

TIMES = (0.0, 0.1, 0.2, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)


def _values(schedule: tuple[float, ...], factor: float = 1.0) -> list[float]:
    return [factor * schedule_value(schedule, time) for time in TIMES]


def test_published_planar_weights() -> None:
    """In 2D, the heat weight is twice the published one, and lengths are 1.13 times as large."""
    config = hotspot.published(2)
    loss = config.loss
    assert loss.surface == (90.0,)
    assert _values(loss.eikonal) == pytest.approx(_values((0.01, 0.7, 0.01, 5.0)))
    assert _values(loss.heat) == pytest.approx(_values((0.2, 0.8, 0.2, 0.9, 0.03, 0.02), 2))
    assert _values(loss.heat_lambda) == pytest.approx(_values((60.0,), 1 / 1.13), rel=0.01)
    assert (config.extent, config.train.offsurface_std) == pytest.approx((1.5 * 1.13, 0.5 * 1.13), rel=0.01)


def test_published_spatial_weights() -> None:
    """In 3D, the heat weight is 4/3 of the published one, and the deviation follows from the covariance 0.5^3 I."""
    config = hotspot.published(3)
    loss = config.loss
    assert loss.surface == (350.0,)
    assert _values(loss.eikonal) == pytest.approx(_values((1.0, 0.2, 1.0, 10.0)))
    assert _values(loss.heat) == pytest.approx(_values((20.0, 0.8, 20.0, 0.1), 4 / 3))
    assert _values(loss.heat_lambda) == pytest.approx(_values((4.0, 0.2, 4.0, 30.0)))
    assert config.train.offsurface_std == pytest.approx(0.5**1.5, abs=1e-3)
    assert (config.extent, config.normalization) == (1.1, "mean_quantile")


@pytest.mark.parametrize(("dim", "steps", "rate", "points"), [(2, 10_000, 1e-4, 4096), (3, 10_001, 5e-5, 7500)])
def test_published_training(dim: int, steps: int, rate: float, points: int) -> None:
    """Adam at a constant rate, as many uniform as normal points per step, and no guide."""
    config = hotspot.published(dim)
    train = config.train
    assert (train.steps, train.lr_network, train.lr_final, train.lr_matrices) == (steps, rate, 1.0, 0.0)
    assert (train.surface_points, train.clip, train.offsurface_sampling) == (15_000, 10.0, "gaussian")
    assert train.offsurface_points * train.offsurface_share == points == train.offsurface_points / 2
    assert not is_used(config.loss.guide)
    assert not is_used(config.loss.off_surface) and not is_used(config.loss.normals)


def test_published_networks() -> None:
    """The networks are a softplus network of 6 layers of 128 units in 2D and StEik's of 0.20 M parameters in 3D."""
    assert hotspot.published(2).model.kind == "softplus"
    assert network_size(hotspot.published(2), 2) == 3 * 128 + 5 * 129 * 128 + 129
    assert hotspot.published(3).model.kind == "quadratic"
    assert round(network_size(hotspot.published(3), 3) / 1e6, 2) == 0.20
