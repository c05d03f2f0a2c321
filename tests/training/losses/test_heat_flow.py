"""Functionals of HeatSDF against closed forms."""

import math

import pytest
import torch

from latentsdf.training.losses.heat_flow import (
    alignment_term,
    cut_off,
    heat_step_term,
    side_term,
    source_direction,
)


def test_minimum_of_heat_step() -> None:
    """Around a plane in a box of half side L, the minimizer solves w - t w'' = 2 L delta, and no scaling is better."""
    time, half = 0.04, 1.0
    root = math.sqrt(time)
    x = torch.linspace(-half, half, 20_001, dtype=torch.float64)
    # cosh((L - |x|) / root) solves the equation away from 0 with slope 0 at the ends; the jump of -t w' at 0 is 2 L.
    factor = half / (root * math.sinh(half / root))
    temperature = factor * torch.cosh((half - x.abs()) / root)
    gradient = -factor / root * torch.sinh((half - x.abs()) / root) * x.sign()

    def energy(scale: float) -> float:
        at_source = scale * torch.full((5,), factor * math.cosh(half / root), dtype=torch.float64)
        return heat_step_term(scale * temperature, scale * gradient[:, None], at_source, time).item()

    assert temperature.mean().item() == pytest.approx(1, rel=1e-3)
    assert energy(1.0) == pytest.approx(-factor * math.cosh(half / root), rel=1e-3)
    assert energy(1.0) < min(energy(0.98), energy(1.02))


def test_cut_off_values() -> None:
    """The cut-off falls from 1 at -width over 1/2 at 0 to 0 at width, with slope 0 at both ends."""
    width = 0.2
    x = torch.tensor([-1.0, -0.2, -0.1, 0.0, 0.1, 0.2, 1.0], requires_grad=True)
    values = cut_off(x, width)
    torch.testing.assert_close(values.detach(), torch.tensor([1.0, 1.0, 0.84375, 0.5, 0.15625, 0.0, 0.0]))
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert slope[[0, 1, 5, 6]].abs().max() < 1e-6 and slope[3].item() == pytest.approx(-0.75 / width)


@pytest.mark.parametrize("dim", [2, 3])
def test_alignment_of_signed_distance(dim: int) -> None:
    """The term vanishes for the distance to a sphere with the directions toward it, and is 4 for the wrong sign."""
    torch.manual_seed(0)
    points = torch.randn(200, dim)
    radius = points.norm(dim=1)
    distance, gradient = radius - 0.8, points / radius[:, None]
    toward = -distance.sign()[:, None] * gradient
    assert alignment_term(distance, gradient, toward, 1e-4) < 1e-6
    assert alignment_term(-distance, -gradient, toward, 1e-4) < 1e-6  # the mirrored field is as good
    assert alignment_term(distance, -gradient, toward, 1e-4).item() == pytest.approx(4, rel=1e-3)


def test_sides() -> None:
    """Right signs cost nothing, wrong ones 1 for each side, zeros 1/2; missing sides are left out."""
    deep, high = torch.full((3,), -0.5), torch.full((4,), 0.5)
    assert side_term(deep, high, 0.1) == 0
    assert side_term(high, high, 0.1) == 1 and side_term(high, deep, 0.1) == 2
    assert side_term(0 * deep, high, 0.1) == 0.5
    assert side_term(torch.empty(0), deep, 0.1) == 1 and side_term(torch.empty(0), torch.empty(0), 0.1) == 0


def test_blended_direction() -> None:
    """The direction is the near one from the threshold on, the far one at temperature 0, a blend in between."""
    near, far = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[0.0, 1.0]] * 3)
    temperature = torch.tensor([0.0, 1.0, 3.0])
    found = source_direction((temperature, near), far, 2.0)
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.5**0.5, 0.5**0.5], [1.0, 0.0]]))
    torch.testing.assert_close(source_direction((temperature, 5 * near), None, 2.0), near)
