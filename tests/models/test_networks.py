"""Networks on one cloud: what they are at the start."""

import pytest
import torch
from torch import nn

from latentsdf.config.reconstruction import NetworkConfig, NetworkStart
from latentsdf.models.factory import build
from latentsdf.models.phase_field import PhaseField
from latentsdf.models.siren import QuadraticLinear, SineNetwork
from latentsdf.models.softplus_mlp import SoftplusMLP
from latentsdf.training.losses import jet
from latentsdf.utils.errors import ConfigError


def _on_spheres(dim: int, radii: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    directions = nn.functional.normalize(torch.randn(400, dim), dim=1)
    points = torch.cat([r * directions for r in radii])
    return points, torch.tensor(radii).repeat_interleave(400)


@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("start", ["sphere", "multifrequency"])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_sine_network_starts_as_the_distance_of_a_sphere(dim: int, start: NetworkStart, quadratic: bool) -> None:
    torch.manual_seed(0)
    network = SineNetwork(dim, 128, 5, start=start, quadratic=quadratic, radius=0.5)
    points, radius = _on_spheres(dim, (0.2, 0.5, 0.8))
    found = jet(network, points)
    assert (found.distance - (radius - 0.5)).abs().max() < 0.03
    assert (found.gradient.norm(dim=1) - 1).abs().mean() < 0.1


def test_the_slope_of_a_start_is_set_by_its_configuration() -> None:
    fields = []
    for slope in (1.0, 0.1):
        torch.manual_seed(0)
        fields.append(build(NetworkConfig(kind="sine", radius=0.7, slope=slope), 2, 1.1))
    points = torch.rand(50, 2) * 2 - 1
    assert fields[0](points).std() > 0.1
    assert torch.allclose(fields[1](points), 0.1 * fields[0](points), atol=1e-6)


def test_the_multifrequency_start_holds_frequencies_that_the_sphere_start_lacks() -> None:
    torch.manual_seed(0)
    plain, rich = (SineNetwork(2, 128, 4, start=start) for start in ("sphere", "multifrequency"))
    highest = [30 * network.layers[0].weight.norm(dim=1).max().item() for network in (plain, rich)]
    assert highest[0] < 1 < 15 < highest[1]


def test_a_siren_start_has_no_sphere_and_its_published_bounds() -> None:
    torch.manual_seed(0)
    network = SineNetwork(3, 256, 4, start="siren")
    bounds = [layer.weight.abs().max().item() for layer in network.layers]
    assert bounds == pytest.approx([1 / 3, *3 * [(6 / 256) ** 0.5 / 30]], rel=0.01)


def test_a_softplus_network_starts_with_a_sphere() -> None:
    torch.manual_seed(0)
    for dim, width, skip in ((2, 128, 0), (3, 512, 0), (3, 512, 4)):
        points, _ = _on_spheres(dim, (0.3, 0.5, 0.7))
        distance = SoftplusMLP(dim, width, 6, 0.5, skip)(points).unflatten(0, (3, 400))
        inside, on, outside = distance.mean(1).tolist()
        assert inside < -0.1 and abs(on) < 0.03 and outside > 0.1, (dim, width, skip)
        assert distance.std(1).max() < 0.1


@pytest.mark.parametrize("dim", [2, 3])
def test_a_spread_start_is_a_sphere_too_and_bends_all_over_the_box(dim: int) -> None:
    torch.manual_seed(0)
    network = build(NetworkConfig(width=128, depth=6, radius=0.5, start="spread"), dim, 1.1).requires_grad_(False)
    points = 1.1 * (2 * torch.rand(4000, dim) - 1)
    assert (network(points) - (points.norm(dim=1) - 0.5)).abs().mean() < 0.02 * dim
    first = network.layers[0]
    from_origin = first.bias.abs() / first.weight.norm(dim=1)
    assert from_origin.median() > 0.2 and from_origin.max() < 1.1 * dim**0.5
    hidden = nn.functional.softplus(first(points), beta=100)
    assert hidden.square().mean().sqrt() == pytest.approx(2.0, rel=0.1)


def test_spread_is_no_start_of_sine_networks() -> None:
    with pytest.raises(ConfigError, match="spread is for softplus"):
        build(NetworkConfig(kind="sine", start="spread"), 2, 1.1)


def test_a_quadratic_layer_starts_linear_and_computes_its_formula() -> None:
    layer = QuadraticLinear(3, 2)
    x = torch.randn(10, 3)
    assert torch.allclose(layer(x), layer.linear(x) + layer.square.bias, atol=1e-3)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    (w1, b1), (w2, b2), (w3, b3) = ((p.weight, p.bias) for p in (layer.linear, layer.factor, layer.square))
    expected = torch.stack([(w1 @ p + b1) * (w2 @ p + b2) + w3 @ (p * p) + b3 for p in x])
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_a_phase_field_starts_constant_and_stays_between_0_and_1() -> None:
    field = PhaseField(2, 32, 3, omega=10.0)
    points = torch.randn(100, 2)
    assert field(points).std() < 1e-6 and 0.8 < field(points).mean() < 1
    nn.init.normal_(field.last.weight, 0, 30)
    assert 0 <= field(points).min() < 0.3 < 0.7 < field(points).max() <= 1
