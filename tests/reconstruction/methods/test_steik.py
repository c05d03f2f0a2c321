"""Settings of StEik."""

import pytest
from helpers.presets import initial_field, network_size

from latentsdf.config.schedules import is_used, schedule_value
from latentsdf.reconstruction.methods import steik


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """The published settings have the weights (2000, 100, 50, 100), batches and box of the release, and no guide."""
    config = steik.published(dim)
    loss, train = config.loss, config.train
    assert (loss.surface, loss.off_surface, loss.eikonal) == ((2000.0,), (100.0,), (50.0,))
    times = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.6, 0.8, 1.0)
    weights = [schedule_value(loss.directional_divergence, time) for time in times]
    assert weights == pytest.approx([100, 100, 100, 75, 50, 25, 0, 0, 0, 0])
    assert not is_used(loss.guide) and not is_used(loss.normals) and not is_used(loss.laplacian)
    assert (train.steps, train.lr_network, train.lr_final, train.clip) == (10_000, 1e-4, 1.0, 10.0)
    assert (train.surface_points, train.offsurface_points) == (15_000, 15_000)
    assert train.offsurface_sampling == "uniform"
    assert (config.extent, config.normalization) == (1.1, "mean")


def test_published_network_size() -> None:
    """The published network of quadratic layers has the 0.20 M parameters that the paper reports."""
    config = steik.published(3)
    assert config.model.kind == "quadratic"
    assert round(network_size(config, 3) / 1e6, 2) == 0.20


def test_guided_planar_start() -> None:
    """The guided field in 2D starts with slope 1 and has no guide at the end; the field in 3D has none."""
    config = steik.small(2)
    for radius in (0.3, 0.7):
        value, slope = initial_field(config, 2, radius)
        # Sines of 64 units flatten the field away from the origin: the slope is 0.98 at 0.3 and 0.91 at 0.7.
        assert slope.mean().item() == pytest.approx(1, abs=0.12)
        assert value.mean().item() == pytest.approx(radius - 0.7, abs=0.03)
    assert schedule_value(config.loss.guide, 0.6) == 2000 and schedule_value(config.loss.guide, 1.0) == 0
    assert not is_used(steik.small(3).loss.guide)
