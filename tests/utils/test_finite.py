"""Check for points that are not finite."""

import math

import pytest
import torch

from latentsdf.utils.errors import ConfigError
from latentsdf.utils.finite import require_finite


def test_count_of_nonfinite_points() -> None:
    """A point with several bad coordinates counts once."""
    points = torch.zeros(1200, 3)
    require_finite(points)
    points[3] = math.nan
    points[7, 1] = math.inf
    with pytest.raises(ConfigError, match=r"^2 of 1,200 points are not finite numbers; remove them$"):
        require_finite(points)
