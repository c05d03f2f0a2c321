"""Terms of medial-axis-aware learning against closed forms."""

import math

import numpy as np
import torch

from latentsdf.models.derivatives import jet
from latentsdf.training.losses.medial_axis import (
    ambrosio_tortorelli_term,
    density_weights,
    expansion_term,
    recovery_profile,
    scaled_eikonal_term,
    second_order_term,
    weighted_surface_term,
)


def test_ambrosio_tortorelli_energy_of_axis() -> None:
    """The recovery profile of a single point has energy 1."""
    axis = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    volume = torch.full_like(axis, 2 / len(axis))
    for width in (0.05, 0.01):
        phase = recovery_profile(axis.abs(), 0.0, width)
        slope = torch.exp(-axis.abs() / (2 * width)) / (2 * width)
        cost = ambrosio_tortorelli_term(phase, slope[:, None], volume, width)
        assert math.isclose(cost.item(), 1.0, rel_tol=1e-3)
    assert recovery_profile(torch.tensor([0.0, 0.1]), 0.1, 0.01).tolist() == [0, 0]


def test_masking_of_gradient_jump_by_phase_field() -> None:
    """The second-order term is 1000 times smaller where v = 0 at the kink."""
    points = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    volume = torch.full((2001,), 1e-3, dtype=torch.float64)
    smooth = jet(lambda x: (x.square() + 1e-4).sqrt().squeeze(-1), points)
    everywhere = second_order_term(smooth, torch.ones(2001), volume)
    phase = recovery_profile(points.squeeze(-1).abs(), 0.05, 1e-3)
    assert everywhere > 10
    assert second_order_term(smooth, phase, volume) < 1e-3 * everywhere


def test_scaled_medial_terms_match_closed_form() -> None:
    """Scaled eikonal, expansion and surface terms equal their formulas."""
    volume = torch.full((4,), 0.5)
    assert math.isclose(scaled_eikonal_term(torch.tensor([[2.0, 0.0]]).expand(4, 2), volume, 0.1).item(), 180.0)
    assert math.isclose(expansion_term(torch.zeros(4), volume).item(), 6.0)
    expected = 2 * (math.exp(-10) + math.exp(-1) + math.exp(-0.01))
    assert math.isclose(expansion_term(torch.full((4,), -0.1), volume).item(), expected, rel_tol=1e-5)
    weights = torch.tensor([0.25, 0.75])
    assert math.isclose(weighted_surface_term(torch.tensor([0.2, 0.1]), weights, 0.1).item(), 1.75, rel_tol=1e-5)


def test_density_weights_with_outlier() -> None:
    """An outlier gets no dominant weight and changes the others little."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 20_000)
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    alone, with_stray = density_weights(circle), density_weights(np.concatenate((circle, [[3.0, 3.0]])))
    assert with_stray[-1] <= 1.01 * alone.max()
    assert np.abs(with_stray[:-1] - alone).mean() < 0.15 * alone.mean()  # because the balls have another size


def test_density_weights_of_uneven_sampling() -> None:
    """Both halves of an unevenly sampled circle have total weight one half."""
    rng = np.random.default_rng(0)
    angle = np.concatenate((rng.uniform(0, math.pi, 4000), rng.uniform(math.pi, 2 * math.pi, 1000)))
    weights = density_weights(np.stack((np.cos(angle), np.sin(angle)), axis=1))
    assert math.isclose(weights.sum(), 1.0)
    assert abs(weights[:4000].sum() - 0.5) < 0.02
