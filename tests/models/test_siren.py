"""Sine networks: initial fields and layer formulas."""

import pytest
import torch
from helpers.models import on_spheres
from torch import nn

from latentsdf.config.reconstruction import NetworkStart
from latentsdf.models.derivatives import jet
from latentsdf.models.siren import QuadraticLinear, SineNetwork


@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("start", ["sphere", "multifrequency"])
@pytest.mark.parametrize("dim", [2, 3])
def test_distance_of_sphere_starts(dim: int, start: NetworkStart, quadratic: bool) -> None:
    """Values on spheres are |x| - r, and the gradient norm is close to 1."""
    torch.manual_seed(0)
    network = SineNetwork(dim, 128, 5, start=start, quadratic=quadratic, radius=0.5)
    points, radius = on_spheres(dim, (0.2, 0.5, 0.8))
    found = jet(network, points)
    assert (found.distance - (radius - 0.5)).abs().max() < 0.03
    assert (found.gradient.norm(dim=1) - 1).abs().mean() < 0.1


def test_high_frequencies_of_multifrequency_start() -> None:
    """The first layer reaches frequencies above 15; that of the sphere start stays below 1."""
    torch.manual_seed(0)
    plain, rich = (SineNetwork(2, 128, 4, start=start) for start in ("sphere", "multifrequency"))
    highest = [30 * network.layers[0].weight.norm(dim=1).max().item() for network in (plain, rich)]
    assert highest[0] < 1 < 15 < highest[1]


def test_weight_bounds_of_siren_start() -> None:
    """The first layer is bounded by 1 / in, the others by sqrt(6 / in) / omega."""
    torch.manual_seed(0)
    network = SineNetwork(3, 256, 4, start="siren")
    bounds = [layer.weight.abs().max().item() for layer in network.layers]
    assert bounds == pytest.approx([1 / 3, *3 * [(6 / 256) ** 0.5 / 30]], rel=0.01)


def test_initial_and_general_quadratic_layer() -> None:
    """The initial layer is linear; with random weights it equals (W1 x + b1) (W2 x + b2) + W3 x^2 + b3."""
    layer = QuadraticLinear(3, 2)
    x = torch.randn(10, 3)
    assert torch.allclose(layer(x), layer.linear(x) + layer.square.bias, atol=1e-3)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    (w1, b1), (w2, b2), (w3, b3) = ((p.weight, p.bias) for p in (layer.linear, layer.factor, layer.square))
    expected = torch.stack([(w1 @ p + b1) * (w2 @ p + b2) + w3 @ (p * p) + b3 for p in x])
    assert torch.allclose(layer(x), expected, atol=1e-5)
