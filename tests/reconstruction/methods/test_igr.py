"""Settings of IGR."""

from dataclasses import replace

import pytest
import torch
from helpers.points import circle_points
from helpers.presets import initial_field, network_size

from latentsdf.config.schedules import is_used
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.methods import igr


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_batch(dim: int) -> None:
    """The weights are 1, 0.1 and 1, and each of 16,384 points has a local sample and every eighth a uniform one."""
    config = igr.published(dim)
    loss, train = config.loss, config.train
    assert (loss.surface, loss.eikonal, loss.normals) == ((1.0,), (0.1,), (1.0,))
    assert loss.eikonal_norm == "l2" and loss.eikonal_points == "offsurface" and train.clip == 0
    assert not loss.normals_cosine and not is_used(loss.guide)
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


def test_published_learning_rates() -> None:
    """The rate is halved every 2,000 steps: 1.6e-4 at step 10,000, 4.4e-18 at the end."""
    config = igr.published(2)
    small = replace(config, model=replace(config.model, width=8, depth=2, skip=0))
    trainer = FieldTrainer(prepare_point_cloud(circle_points(200, 1.0)), small, torch.device("cpu"))
    rates = {}
    for step in (0, 1, 1999, 2000, 3999, 4000, 9999, 10_000, 50_000, 99_999):
        trainer.step = step
        rates[step] = config.train.lr_network * trainer._learning_rate_scale(trainer.progress())
    assert rates == pytest.approx({step: 0.005 * 0.5 ** (step // 2000) for step in rates})
    assert rates[10_000] == pytest.approx(1.5625e-4)
