"""Weights that change over a run, piecewise linear in its progress (METHODS 0.4)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from latentsdf.utils.errors import ConfigError

Schedule = Sequence[float]
"""(v0, t1, v1, t2, v2, ..., end): the value v0 at progress 0, v_i at t_i, `end` at 1. (v,) is constant.

(20, 0.8, 20, 0.1) stays at 20 until 80 % and then falls to 0.1.
"""


def schedule_value(schedule: Schedule, progress: float) -> float:
    """The value at a progress in [0, 1]; ConfigError for a schedule whose times do not rise within [0, 1]."""
    if len(schedule) == 1:
        return float(schedule[0])
    times = [0.0, *schedule[1:-1:2], 1.0]
    values = [schedule[0], *schedule[2:-1:2], schedule[-1]]
    if len(schedule) % 2 or any(b < a for a, b in pairwise(times)):
        raise ConfigError(f"a schedule is (value, time, value, ..., end) with times rising in [0, 1], got {schedule}")
    return float(np.interp(progress, times, values))
