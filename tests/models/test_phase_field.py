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


def test_preactivated_blocks() -> None:
    """The field equals h + a (V sin(omega (W sin(omega h) + b)) + c) per block, and starts at 0.52."""
    torch.manual_seed(0)
    field = PhaseField(3, 16, 2, omega=5.0, kind="preactivated", gain=0.5).requires_grad_(False)
    points = torch.randn(20, 3)
    torch.testing.assert_close(field(points), torch.full((20,), torch.tensor(0.1).sigmoid().item()))
    assert sum(parameter.numel() for parameter in field.parameters()) == 4 * 16 + 2 * 2 * 17 * 16 + 17
    for parameter in field.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    weights = field.state_dict()
    hidden = points @ weights["first.weight"].T + weights["first.bias"]
    for block in range(2):
        inner = torch.sin(5 * hidden) @ weights[f"blocks.{block}.weight"].T + weights[f"blocks.{block}.bias"]
        outer = torch.sin(5 * inner) @ weights[f"seconds.{block}.weight"].T + weights[f"seconds.{block}.bias"]
        hidden = hidden + 0.5 * outer
    expected = torch.sigmoid(0.1 * (hidden @ weights["last.weight"].T + weights["last.bias"])[:, 0])
    torch.testing.assert_close(field(points), expected)
