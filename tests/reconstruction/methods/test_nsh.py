"""Settings of Neural-Singular-Hessian."""

import pytest
from helpers.presets import network_size

from latentsdf.config.schedules import is_used, schedule_value
from latentsdf.reconstruction.methods import nsh


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """Weights, points, rates and frame are those of the release, whose Hessian term is half of a sum of two means."""
    config = nsh.published(dim)
    loss, train = config.loss, config.train
    assert (loss.surface, loss.off_surface, loss.eikonal) == ((7000.0,), (600.0,), (50.0,))
    assert (loss.eikonal_points, loss.second_order_points) == ("surface", "local")
    times = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.6, 0.8, 1.0)
    released = [3, 3, 3, 2.25025, 1.5005, 0.75075, 0.001, 0.0007, 0.0004, 0.0001]
    assert [2 * schedule_value(loss.singular_hessian, time) for time in times] == pytest.approx(released)
    assert not is_used(loss.guide) and not is_used(loss.normals)
    assert (train.steps, train.lr_network, train.lr_final, train.clip) == (10_000, 5e-5, 1.0, 10.0)
    assert (train.surface_points, train.offsurface_points, train.offsurface_share) == (15_000, 30_000, 0.5)
    assert (config.extent, config.normalization, config.model.start) == (1.1, "mean", "siren")


def test_published_network() -> None:
    """The network has a sine layer of 256 units, four hidden ones and a linear output."""
    assert network_size(nsh.published(3), 3) == 4 * 256 + 4 * 257 * 256 + 257
