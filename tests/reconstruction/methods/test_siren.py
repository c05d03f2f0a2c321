"""Settings of SIREN."""

import pytest
from helpers.presets import network_size

from latentsdf.config.schedules import is_used
from latentsdf.reconstruction.methods import siren


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """The release averages terms of one half of the points over both halves, so that its weights are halved."""
    config = siren.published(dim)
    loss, train = config.loss, config.train
    assert train.surface_points == train.offsurface_points == 1400
    share = train.surface_points / (train.surface_points + train.offsurface_points)
    assert (loss.surface, loss.off_surface, loss.normals) == ((3000 * share,), (100 * share,), (100 * share,))
    assert loss.eikonal == (50.0,) and loss.normals_cosine and not is_used(loss.guide)
    assert (train.steps, train.lr_network, train.lr_final) == (10_000, 1e-4, 1.0)
    assert train.offsurface_sampling == "uniform" and train.clip == 1.0
    assert (config.extent, config.normalization) == (1.0, "minmax")


def test_published_network() -> None:
    """The network has a sine layer of 256 units, three hidden ones of frequency 30 and a linear output."""
    config = siren.published(3)
    assert (config.model.kind, config.model.start, config.model.omega) == ("sine", "siren", 30.0)
    assert network_size(config, 3) == 4 * 256 + 3 * 257 * 256 + 257
