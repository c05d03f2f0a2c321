"""Piecewise linear schedules over the progress of a run, which goes from 0 at the start to 1 at the end.

A schedule is (v_0, t_1, v_1, t_2, v_2, ..., v_end): the value v_0 at progress 0, v_i at progress t_i, and v_end at
progress 1, linear in between. (v,) is constant. (20, 0.8, 20, 0.1) stays at 20 until 80 % of the run and then falls
to 0.1.
"""

from collections.abc import Sequence

import numpy as np


def schedule_value(schedule: Sequence[float], progress: float) -> float:
    """Evaluate a schedule at a progress in [0, 1]."""
    if len(schedule) == 1:
        return float(schedule[0])
    return float(np.interp(progress, [0.0, *schedule[1:-1:2], 1.0], schedule_values(schedule)))


def schedule_values(schedule: Sequence[float]) -> list[float]:
    """Return the values of a schedule, without its times."""
    return [*schedule] if len(schedule) == 1 else [*schedule[:-1:2], schedule[-1]]


def is_used(schedule: Sequence[float]) -> bool:
    """Return True if a scheduled weight is above 0 at any time of the run, so that its term needs samples."""
    return max(schedule_values(schedule)) > 0
