"""Schedules against their definition."""

import numpy as np
import pytest

from latentsdf.config.schedules import is_used, schedule_value, schedule_values
from latentsdf.config.training import LossConfig
from latentsdf.utils.errors import ConfigError


def test_linear_interpolation_of_schedule() -> None:
    """A schedule has its values at its times and is linear in between."""
    schedule = (20.0, 0.8, 20.0, 0.1)
    assert [schedule_value(schedule, progress) for progress in (0.0, 0.5, 0.8)] == [20.0, 20.0, 20.0]
    assert schedule_value(schedule, 0.9) == pytest.approx((20.0 + 0.1) / 2)
    assert schedule_value(schedule, 1.0) == 0.1
    assert schedule_value((1.0, 3.0), 0.25) == 1.5


def test_exact_constant_schedule() -> None:
    """One value holds for the whole run, without rounding."""
    assert {schedule_value((0.1,), progress) for progress in np.linspace(0, 1, 7)} == {0.1}


def test_use_of_scheduled_weight() -> None:
    """A scheduled weight is in use if any of its values is above 0; its times are irrelevant."""
    assert not is_used((0.0,)) and not is_used((0.0, 0.5, 0.0, 0.0))
    assert is_used((0.0, 0.5, 0.0, 1.0)) and is_used((0.0, 0.5, 1.0, 0.0)) and is_used((1e-9,))
    assert schedule_values((4.0, 0.2, 5.0, 6.0)) == [4.0, 5.0, 6.0]


@pytest.mark.parametrize("wrong", [(1, 0.5, 2), (1, 0.8, 2, 0.3, 4, 5)], ids=["no end", "falling times"])
def test_malformed_schedules(wrong: tuple[float, ...]) -> None:
    """A configuration refuses schedules without an end and times that do not rise."""
    with pytest.raises(ConfigError, match="non-decreasing times"):
        LossConfig(code=wrong)
