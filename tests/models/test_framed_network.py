"""Networks of another frame as fields of model space."""

import pytest
import torch
from torch import nn

from latentsdf.models.derivatives import jet
from latentsdf.models.framed_network import FramedNetwork, continued_distance
from latentsdf.models.lipschitz_mlp import LipschitzMLP


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


@pytest.mark.parametrize("dim", [2, 3])
def test_lipschitz_continuation(dim: int) -> None:
    """A 1-Lipschitz network keeps its bound across the box and in another frame, and is positive beyond the box."""
    torch.manual_seed(dim)
    network = LipschitzMLP(dim, 16, 3).double()
    framed = FramedNetwork(network, dim, 1.0).double()
    framed.scale.fill_(3.0)
    framed.center.copy_(torch.full((dim,), 0.2))
    for field, size in ((lambda x: continued_distance(network, x, 1.0), 1.0), (framed, 1 / 3)):
        x = 2 * size * torch.randn(20_000, dim, dtype=torch.float64)
        y = x + 0.5 * size * torch.randn_like(x)
        with torch.no_grad():
            assert ((field(x) - field(y)).abs() <= (x - y).norm(dim=1) * (1 + 1e-12)).all()
    x = 2 * torch.rand(1000, dim, dtype=torch.float64) - 1
    nearly = 0.3 * x  # far from the walls, where the distance to the box is below the field
    network.offset.data += 0.6 - network(nearly).max().detach()
    assert network(nearly).min() > nearly.abs().max() - 1
    torch.testing.assert_close(continued_distance(network, nearly, 1.0), network(nearly))
    beyond = x + 3 * x.sign()
    assert (continued_distance(network, beyond, 1.0) >= (beyond - beyond.clamp(-1, 1)).norm(dim=1) - 1e-12).all()
    network.offset.data -= 100
    torch.testing.assert_close(continued_distance(network, nearly, 1.0), nearly.abs().amax(1) - 1)


class _Clamped(nn.Module):
    """x_1."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points[:, 0]


def test_slope_of_other_continuations() -> None:
    """Other fields are continued by a sum, whose slope of the root of 2 would break the bound."""
    start, end = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.5, 2.5]])
    rise = continued_distance(_Clamped(), end, 1.0) - continued_distance(_Clamped(), start, 1.0)
    assert rise.item() == pytest.approx(2**0.5 * (end - start).norm().item())
