"""Settings of SAL."""

import pytest
from helpers.presets import network_size, start_radius_and_slope

from latentsdf.config.schedules import is_used
from latentsdf.reconstruction.methods import sal


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """The sign-agnostic term is the only one; rate, batch, both noises and the frame are those of the release."""
    config = sal.published(dim)
    loss, train = config.loss, config.train
    assert loss.sign_agnostic == (1.0,)
    others = [name for name, value in vars(loss).items() if isinstance(value, tuple) and name != "sign_agnostic"]
    assert not any(is_used(getattr(loss, name)) for name in others if not name.endswith("_lambda"))
    assert (train.steps, train.lr_network, train.lr_final, train.clip, train.halve_steps) == (2002, 5e-4, 1.0, 0.0, 0)
    assert (train.offsurface_points, train.offsurface_share, train.offsurface_std) == (128**2, 0.5, 1.0)
    assert (train.offsurface_sampling, config.normalization) == ("cloud", "mean")


def test_published_network() -> None:
    """The network has 8 layers of 512 rectifiers with a length per row, and starts as 2 |x| - 1."""
    config = sal.published(3)
    assert (config.model.kind, config.model.weight_norm) == ("relu", True)
    assert network_size(config, 3) == 5 * 512 + 7 * 514 * 512 + 513
    radius, slope = start_radius_and_slope(config, 3)
    assert radius == pytest.approx(0.5, rel=0.1) and slope == pytest.approx(2.0, rel=0.3)
