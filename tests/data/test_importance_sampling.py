"""Tests of the mixture density against numerical integration and histograms."""

import numpy as np
import pytest
import torch

from latentsdf.config.training import LossConfig
from latentsdf.data.importance_sampling import HEAT_MIXTURE, UniformGaussianMixture, draw_heat_points, heat_point_count


@pytest.mark.parametrize(
    "mixture", [UniformGaussianMixture(2, 1.5, 0.5), UniformGaussianMixture(2, 1.0, 0.5, 0.25), HEAT_MIXTURE]
)
def test_integral_of_density(mixture: UniformGaussianMixture) -> None:
    """The midpoint rule over the box gives 1."""
    count = 400 if mixture.dim == 2 else 80
    axis = ((torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1) * mixture.extent
    points = torch.cartesian_prod(*[axis] * mixture.dim)
    mean = mixture.density(points).mean().item()
    assert mean * (2 * mixture.extent) ** mixture.dim == pytest.approx(1, abs=1e-4)


def test_density_of_samples() -> None:
    """The fraction of samples in a small ball matches the density, and no sample leaves the box."""
    mixture = UniformGaussianMixture(2, 1.0, 0.5)
    points = mixture.draw(400_000, torch.Generator().manual_seed(0))
    assert points.abs().max() <= 1
    for center in (torch.zeros(2), torch.tensor([0.8, -0.7])):
        inside = ((points - center).norm(dim=1) < 0.1).double().mean().item()
        assert inside == pytest.approx(mixture.density(center[None]).item() * np.pi * 0.01, rel=0.05)


def test_importance_sampling_of_known_integral() -> None:
    """The mean of f / q estimates the integral of f = |x|^2 over the box, which is 8."""
    points = draw_heat_points(200_000, np.random.default_rng(0))
    estimate = (points.square().sum(1) / HEAT_MIXTURE.density(points)).mean().item()
    assert estimate == pytest.approx(8, rel=0.01)


def test_heat_point_count() -> None:
    """Only a heat term on the general branch needs points; a count of 0 draws nothing from the generator."""
    assert heat_point_count(LossConfig(heat=0.1, regularizer_points=7)) == 8
    assert heat_point_count(LossConfig(heat=0.0, regularizer_points=7)) == 0
    assert heat_point_count(LossConfig(heat=0.1, regularizer_branch="overfit")) == 0
    rng = np.random.default_rng(0)
    assert draw_heat_points(0, rng).shape == (0, 3)
    assert rng.integers(1000) == np.random.default_rng(0).integers(1000)
