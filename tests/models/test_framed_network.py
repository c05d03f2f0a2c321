"""Networks of another frame as fields of model space."""

import torch
from torch import nn

from latentsdf.models.derivatives import jet
from latentsdf.models.framed_network import FramedNetwork


class _Ball(nn.Module):
    """|y| - 0.5."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - 0.5


def test_ball_of_another_frame() -> None:
    """A ball of radius 0.5 in a frame at (0.25, 0, 0) with scale 2 is a ball of radius 0.25 there, with slope 1."""
    framed = FramedNetwork(_Ball(), 3, 1.0)
    framed.center.copy_(torch.tensor([0.25, 0, 0]))
    framed.scale.fill_(2.0)
    points = torch.tensor([[0.25, 0, 0.25], [0.25, 0.4, 0], [0.45, 0, 0]])
    at = jet(framed, points)
    torch.testing.assert_close(at.distance, torch.tensor([0.0, 0.15, -0.05]))
    torch.testing.assert_close(at.gradient.norm(dim=1), torch.ones(3))


def test_continuation_beyond_fitted_box() -> None:
    """Beyond the box of the frame, the field grows by the distance to it."""
    framed = FramedNetwork(_Ball(), 3, 1.0)
    framed.scale.fill_(2.0)
    torch.testing.assert_close(framed(torch.tensor([[0.9, 0, 0]])), torch.tensor([0.4 + 0.25]))
