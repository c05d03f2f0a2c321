"""The 1-Lipschitz network: the bound holds for all weights, layer by layer and for the whole network."""

import math

import pytest
import torch
from torch import nn

from latentsdf.models.derivatives import jet
from latentsdf.models.lipschitz_mlp import LipschitzLayer, LipschitzMLP


def _network(dim: int, spread: float) -> LipschitzMLP:
    """Return a network in float64 with weights, biases and scales that are `spread` times as large as at the start."""
    torch.manual_seed(round(10 * spread) + dim)
    network = LipschitzMLP(dim, width=24, depth=6).double()
    for parameter in network.parameters():
        parameter.data *= spread
    return network


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_lipschitz_bound_of_pairs(dim: int, spread: float) -> None:
    """|u(x) - u(y)| <= |x - y| for far and near pairs, inside the box of a fit and beyond it."""
    network = _network(dim, spread)
    x = 5 * torch.randn(20_000, dim, dtype=torch.float64)
    directions = nn.functional.normalize(torch.randn_like(x), dim=1)
    for lengths in (10.0, 1.0, 1e-3):
        y = x + lengths * torch.rand(len(x), 1, dtype=torch.float64) * directions
        apart = (x - y).norm(dim=1)
        with torch.no_grad():
            assert ((network(x) - network(y)).abs() <= apart + 1e-12 * (1 + apart)).all()


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_slope_bound(dim: int, spread: float) -> None:
    """|grad u| <= 1, by automatic differentiation."""
    slope = jet(_network(dim, spread), 2 * torch.randn(5000, dim, dtype=torch.float64)).gradient.norm(dim=1)
    assert slope.max() <= 1 + 1e-5
    assert slope.max() > 0.1


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_norms_of_layer_jacobians(spread: float) -> None:
    """The largest singular value of every layer's Jacobian is at most 1."""
    network = _network(3, spread)
    for layer in network.layers:
        for hidden in torch.randn(20, 24, dtype=torch.float64):
            jacobian = torch.autograd.functional.jacobian(lambda h, layer=layer: layer(h[None])[0], hidden)
            assert torch.linalg.matrix_norm(jacobian, 2) <= 1 + 1e-10


def test_layer_against_its_formula() -> None:
    """A layer equals h - 2 W^T T^-1 relu(W h + b) with sums written out; a row of W that is 0 does nothing."""
    torch.manual_seed(0)
    layer = LipschitzLayer(5)
    layer.weight.data[3] = 0
    hidden = torch.randn(7, 5)
    w, b, q = layer.weight.tolist(), layer.bias.tolist(), layer.log_scale.tolist()
    for h, found in zip(hidden.tolist(), layer(hidden).tolist(), strict=True):
        expected = list(h)
        for i in range(5):
            t = sum(abs(sum(w[i][k] * w[j][k] for k in range(5))) * math.exp(q[j] - q[i]) for j in range(5))
            active = max(0.0, sum(w[i][k] * h[k] for k in range(5)) + b[i])
            for k in range(5):
                expected[k] -= 2 * w[i][k] * active / t if t else 0.0
        assert found == pytest.approx(expected, abs=1e-5)
    layer(hidden).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())
