"""The training of one field: budgets, stopping rules, errors."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.settings import short_preset, with_train

import latentsdf as ls
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.presets import preset
from latentsdf.utils.errors import TrainingError


@pytest.mark.slow
def test_wall_clock_budget() -> None:
    """`minutes` ends a run before `steps`; preparing the cloud does not count."""
    points = circle_points(500, 1.0)
    timed = ls.reconstruct(points, config=with_train(short_preset("hotspot", steps=10**9), minutes=0.005))
    assert len(timed.history) < 1000
    # The preparation alone takes longer than this budget.
    hasty = with_train(preset("latentsdf", 2), minutes=1e-3)
    assert ls.reconstruct(points, config=hasty).history[-1]["step"] >= 1


@pytest.mark.slow
@pytest.mark.usefixtures("short_windows")
def test_patience() -> None:
    """A run ends if its surface term has not fallen for `patience` windows."""
    config = with_train(short_preset("hotspot", steps=200), lr_network=1e-12, lr_matrices=0.0, patience=2)
    assert ls.reconstruct(circle_points(500, 1.0), config=config).history[-1]["step"] <= 50


def test_learning_rate_scale() -> None:
    """Learning rates rise linearly over the warm-up and fall along a cosine to `lr_final`."""
    config = with_train(short_preset("igr", steps=100), warmup_steps=10, lr_final=0.1)
    trainer = FieldTrainer(prepare_point_cloud(circle_points(200, 1.0)), config, torch.device("cpu"))
    assert trainer._learning_rate_scale(0.0) == pytest.approx(0.1)
    trainer.step = 50
    assert trainer.progress() == 0.5
    assert trainer._learning_rate_scale(0.5) == pytest.approx((1 + 0.1) / 2)
    assert trainer._learning_rate_scale(1.0) == pytest.approx(0.1)


@pytest.mark.slow
def test_state_dict_round_trip() -> None:
    """A trainer that loads the state of another makes the same next step."""
    cloud, config = prepare_point_cloud(circle_points(200, 1.0)), short_preset("hotspot", steps=10)
    first, second = (FieldTrainer(cloud, config, torch.device("cpu")) for _ in range(2))
    first.train_step()
    second.load_state_dict(deepcopy(first.state_dict()))
    assert second.step == 1
    assert first.train_step() == second.train_step()
    points = torch.from_numpy(circle_points(50, 0.5).astype(np.float32))
    assert torch.equal(first.network(points), second.network(points))


@pytest.mark.slow
def test_nonfinite_loss() -> None:
    """A loss that is not finite raises an error with the step, the term and the settings to lower."""
    config = with_train(short_preset("hotspot"), lr_network=1e30, clip=0.0)
    with pytest.raises(TrainingError, match=r"step \d+: the .* not finite; lower train\.lr_network"):
        ls.reconstruct(circle_points(500, 1.0), config=config)
