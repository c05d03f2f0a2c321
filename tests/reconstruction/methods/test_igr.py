"""Settings of IGR."""

import pytest
from helpers.presets import initial_field, network_size

from latentsdf.config.schedules import is_used
from latentsdf.reconstruction.methods import igr


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """The weights are 1, 0.1 and 1, and each of 16,384 points has a local sample and every eighth a uniform one."""
    config = igr.published(dim)
    loss, train = config.loss, config.train
    assert (loss.surface, loss.eikonal, loss.normals) == ((1.0,), (0.1,), (1.0,))
    assert loss.eikonal_norm == "l2" and not loss.normals_cosine and not is_used(loss.guide)
    assert (train.steps, train.lr_network, train.surface_points) == (100_000, 5e-3, 16_384)
    assert train.offsurface_sampling == "local" and config.extent == 1.8
    local = train.offsurface_points * train.offsurface_share
    assert local == pytest.approx(16_384) and train.offsurface_points - local == pytest.approx(16_384 / 8)


def test_published_network() -> None:
    """The network has 8 layers of 512 units, a narrower fourth one before the skip, and starts as the unit sphere."""
    config = igr.published(3)
    layers = [(3, 512), (512, 512), (512, 512), (512, 509), *[(512, 512)] * 4, (512, 1)]
    assert network_size(config, 3) == sum((inputs + 1) * out for inputs, out in layers)
    value, slope = initial_field(config, 3, 1.0)
    assert value.mean().item() == pytest.approx(0, abs=0.05)
    assert slope.mean().item() == pytest.approx(1, abs=0.15)
