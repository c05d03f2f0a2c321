"""Settings of HeatSDF."""

import pytest
from helpers.presets import initial_field, network_size

from latentsdf.reconstruction.methods import heat_sdf


@pytest.mark.parametrize("dim", [2, 3])
def test_published_settings(dim: int) -> None:
    """Time step, weights, widths, cells, steps of both problems, batches, rate and frame are those of the release."""
    config = heat_sdf.published(dim)
    heat, train = config.heat_sdf, config.train
    assert (heat.near_time, heat.far_time, heat.sides_from) == (0.005, 0.0, "flood_fill")
    assert (heat.surface, heat.alignment, heat.sides) == ((100.0,), (1.0,), (1.0,))
    assert (heat.alignment_width, heat.side_width, heat.side_points, heat.cells) == (0.005, 5e-4, 500, 64)
    assert train.steps * heat.share == pytest.approx(50 * 500)
    assert train.steps * (1 - heat.share) == pytest.approx(50 * 1000)
    assert (train.lr_network, train.clip, train.beta2, train.offsurface_points) == (1e-5, 2.0, 0.999, 5000)
    assert (train.offsurface_sampling, config.extent, config.normalization) == ("uniform", 1.2, "minmax")


def test_published_network() -> None:
    """The network has a sine layer of 256 units, four hidden ones and a linear output."""
    assert network_size(heat_sdf.published(3), 3) == 4 * 256 + 4 * 257 * 256 + 257


@pytest.mark.parametrize("dim", [2, 3])
def test_published_start(dim: int) -> None:
    """The field starts with the unit sphere as its zero set, where its slope is 1."""
    value, slope = initial_field(heat_sdf.published(dim), dim, 1.0)
    assert value.abs().max() < 1e-5 and slope.numpy() == pytest.approx(1, abs=1e-4)
