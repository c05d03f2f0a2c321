"""Losses against closed forms."""

import math

import pytest
import torch

from latentsdf.models.derivatives import gradient
from latentsdf.training.losses.codes import code_prior_term, lipschitz_term
from latentsdf.training.losses.data import data_term, norm_term
from latentsdf.training.losses.first_order import eikonal_term, heat_term
from latentsdf.utils.errors import ConfigError


def test_clamped_mean_absolute_error_of_data_term() -> None:
    """The data term is the mean absolute error, with both distances clamped."""
    predicted, distance = torch.tensor([0.05, 0.5, -0.3]), torch.tensor([0.0, 0.2, -0.05])
    assert math.isclose(data_term(predicted, distance).item(), (0.05 + 0.3 + 0.25) / 3, rel_tol=1e-6)
    assert math.isclose(data_term(predicted, distance, 0.1).item(), (0.05 + 0.0 + 0.05) / 3, rel_tol=1e-6)


def test_eikonal_term_of_scaled_sphere_distance() -> None:
    """The eikonal term is 0 for the distance of a sphere and 1 for twice that distance."""
    points = torch.randn(2, 50, 3)
    assert eikonal_term(gradient(lambda x: x.norm(dim=-1) - 0.5, points)) < 1e-5
    doubled = eikonal_term(gradient(lambda x: 2 * x.norm(dim=-1) - 0.5, points))
    assert math.isclose(doubled.item(), 1.0, rel_tol=1e-5)


def test_unbiased_heat_term_under_mixture() -> None:
    """Uniform points and points of a mixture estimate the same heat energy."""
    generator = torch.Generator().manual_seed(0)
    absorption, std, count = 4.0, 0.4, 400_000
    uniform = torch.rand(count, 3, generator=generator) * 2 - 1
    normal = torch.randn(count, 3, generator=generator) * std
    inside = normal[(normal.abs() <= 1).all(1)]

    def energy(points: torch.Tensor, density: torch.Tensor | float) -> torch.Tensor:
        distance = points.norm(dim=1) - 0.5
        return heat_term(distance, points / points.norm(dim=1, keepdim=True), absorption, density)

    box = energy(uniform, 1 / 8)
    points = torch.cat((uniform, inside))
    share = count / len(points)
    kept = math.erf(1 / (std * math.sqrt(2))) ** 3
    gaussian = torch.exp(-points.square().sum(1) / (2 * std**2)) / ((2 * math.pi) ** 1.5 * std**3) / kept
    mixture = energy(points, share / 8 + (1 - share) * gaussian)
    assert math.isclose(box.item(), mixture.item(), rel_tol=0.01)


def test_finite_gradient_of_norm_term_at_zero() -> None:
    """The norm term is the mean norm, with a finite gradient at 0."""
    vectors = torch.zeros(4, 3, requires_grad=True)
    norm_term(vectors).backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert math.isclose(norm_term(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).item(), 3.0, rel_tol=1e-6)


def test_lipschitz_term_of_linear_field() -> None:
    """For a field that is linear in the code, the mean estimate is the mean squared slope."""
    generator = torch.Generator().manual_seed(0)
    slopes, codes = torch.randn(3, 40, 5, generator=generator), torch.randn(3, 5, generator=generator)
    signs = torch.randint(2, (600, 3, 40), generator=generator) * 2.0 - 1.0
    found = [lipschitz_term(lambda z: (slopes * z[:, None]).sum(-1), codes, sign).item() for sign in signs]
    assert math.isclose(sum(found) / len(found), slopes.square().sum(-1).mean().item(), rel_tol=0.05)


def test_code_priors_match_closed_forms() -> None:
    """The priors equal the norm, the squared norm and the KL divergence of torch."""
    codes = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert math.isclose(code_prior_term(codes, "norm", 1.0).item(), 2.5, rel_tol=1e-5)
    assert math.isclose(code_prior_term(codes, "squared", 1.0).item(), 12.5, rel_tol=1e-6)
    start = torch.distributions.Normal(0.0, 2.0)
    fitted = torch.distributions.Normal(codes.mean(0), codes.std(0, unbiased=False))
    expected = torch.distributions.kl_divergence(fitted, start).mean().item()
    assert math.isclose(code_prior_term(codes, "kl", 2.0).item(), expected, rel_tol=1e-5)
    for few, std in ((codes[:1], 1.0), (codes, 0.0)):
        with pytest.raises(ConfigError, match="it needs at least 2 shapes per batch and a code_std above 0"):
            code_prior_term(few, "kl", std)
