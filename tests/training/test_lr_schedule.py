"""Learning-rate schedules."""

from dataclasses import replace

import pytest

from latentsdf.config.training import TrainConfig
from latentsdf.training.lr_schedule import learning_rate_factor, ramp_up


def test_schedules_at_selected_progress() -> None:
    """Halving, warm-up, cosine decay and ramp have their closed-form values."""
    halving = replace(TrainConfig(), halve_epochs=100, warmup_steps=0)
    assert [learning_rate_factor(halving, 0, 0.0, epoch) for epoch in (0, 99.9, 100, 250)] == [1, 1, 0.5, 0.25]
    cosine = replace(TrainConfig(), lr_final=0.1, warmup_steps=10)
    assert learning_rate_factor(cosine, 4, 0.0, 0) == 0.5 and learning_rate_factor(cosine, 50, 1.0, 0) == pytest.approx(
        0.1
    )
    assert [ramp_up(epoch, 100) for epoch in (0, 50, 200)] == [0, 0.5, 1] and ramp_up(0, 0) == 1
