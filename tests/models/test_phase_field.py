"""The phase field of the medial axis."""

import torch
from torch import nn

from latentsdf.models.phase_field import PhaseField


def test_initial_value_and_range_of_phase_field() -> None:
    """The initial field is constant near 0.88; with other weights it takes values over the whole range."""
    field = PhaseField(2, 32, 3, omega=10.0)
    points = torch.randn(100, 2)
    assert field(points).std() < 1e-6 and 0.8 < field(points).mean() < 1
    nn.init.normal_(field.last.weight, 0, 30)
    assert 0 <= field(points).min() < 0.3 < 0.7 < field(points).max() <= 1
