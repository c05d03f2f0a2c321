"""Softplus networks: initial fields."""

import pytest
import torch
from helpers.models import on_spheres
from torch import nn

from latentsdf.config.reconstruction import NetworkConfig
from latentsdf.models.factory import build_network
from latentsdf.models.softplus_mlp import SoftplusMLP


def test_sphere_start() -> None:
    """Mean values on three spheres are negative, zero and positive, with little spread on each."""
    torch.manual_seed(0)
    for dim, width, skip in ((2, 128, 0), (3, 512, 0), (3, 512, 4)):
        points, _ = on_spheres(dim, (0.3, 0.5, 0.7))
        distance = SoftplusMLP(dim, width, 6, 0.5, skip)(points).unflatten(0, (3, 400))
        inside, on, outside = distance.mean(1).tolist()
        assert inside < -0.1 and abs(on) < 0.03 and outside > 0.1, (dim, width, skip)
        assert distance.std(1).max() < 0.1


@pytest.mark.parametrize("dim", [2, 3])
def test_sphere_and_bends_of_spread_start(dim: int) -> None:
    """The field is close to |x| - r, units bend across the box, and activations have the intended size."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(width=128, depth=6, radius=0.5, start="spread"), dim, 1.1).requires_grad_(
        False
    )
    points = 1.1 * (2 * torch.rand(4000, dim) - 1)
    assert (network(points) - (points.norm(dim=1) - 0.5)).abs().mean() < 0.02 * dim
    first = network.layers[0]
    from_origin = first.bias.abs() / first.weight.norm(dim=1)
    assert from_origin.median() > 0.2 and from_origin.max() < 1.1 * dim**0.5
    hidden = nn.functional.softplus(first(points), beta=100)
    assert hidden.square().mean().sqrt() == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("skip", [0, 3])
def test_fourier_features(skip: int) -> None:
    """The network with Fourier features starts as the sphere, and reads x, sin(2^k pi x) and cos(2^k pi x)."""
    torch.manual_seed(0)
    network = SoftplusMLP(2, 64, 4, 0.5, skip, frequencies=2).requires_grad_(False)
    points, radius = on_spheres(2, (0.3, 0.5, 0.7))
    assert (network(points) - (radius - 0.5)).abs().mean() < 0.06
    for layer in network.layers:
        nn.init.normal_(layer.weight, 0, 0.2)
    encoded = torch.cat([points, *(wave(f * torch.pi * points) for f in (1, 2) for wave in (torch.sin, torch.cos))], 1)
    hidden = encoded
    for number, layer in enumerate(network.layers, start=1):
        joined = torch.cat((hidden, encoded), 1) / 2**0.5 if number == skip else hidden
        hidden = nn.functional.softplus(layer(joined), beta=100)
    torch.testing.assert_close(network(points), network.last(hidden)[:, 0])


@pytest.mark.parametrize("dim", [2, 3])
def test_sphere_of_slope_two(dim: int) -> None:
    """SAL's start is about 2 (|x| - 0.5), also of rectifiers with normalized weights; 256 units make it flatter."""
    torch.manual_seed(0)
    config = NetworkConfig(kind="relu", width=256, depth=4, weight_norm=True, radius=0.5, slope=2.0)
    network = build_network(config, dim, 1.1).requires_grad_(False)
    points, _ = on_spheres(dim, (0.3, 0.5, 0.7))
    values = network(points).unflatten(0, (3, 400)).mean(1)
    torch.testing.assert_close(values, torch.tensor([-0.4, 0.0, 0.4]), atol=0.12, rtol=0)


def test_normalized_weights() -> None:
    """Weight normalization leaves the start unchanged and makes the field independent of the lengths of directions."""
    fields = []
    for weight_norm in (False, True):
        torch.manual_seed(0)
        fields.append(SoftplusMLP(2, 32, 3, 0.5, rectifier=True, weight_norm=weight_norm).requires_grad_(False))
    points = torch.rand(50, 2) * 2 - 1
    before = fields[0](points)
    torch.testing.assert_close(fields[1](points), before)
    for layer in fields[1].layers:
        layer.parametrizations.weight.original1.mul_(3.0)
    torch.testing.assert_close(fields[1](points), before)
    assert type(fields[1].last) is nn.Linear


def test_rectifiers() -> None:
    """A network of rectifiers without biases is positively homogeneous up to its output bias."""
    torch.manual_seed(0)
    network = SoftplusMLP(3, 16, 3, 0.5, rectifier=True).requires_grad_(False)
    points, bias = torch.rand(20, 3), network.last.bias
    torch.testing.assert_close(network(4 * points) - bias, 4 * (network(points) - bias))
