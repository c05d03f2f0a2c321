"""Mixtures of Gaussians against closed forms and against codes from known distributions."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from latentsdf.latent.mixture import CodeMixture

CENTERS = 8 * torch.eye(6)[:3]


def _codes(count: int, seed: int = 0) -> Tensor:
    """Codes from three separate Gaussians with shares of 1/2, 1/4 and 1/4."""
    generator = torch.Generator().manual_seed(seed)
    center = CENTERS[torch.tensor([0, 0, 1, 2]).repeat(count // 4)]
    return center + torch.randn(count, 6, generator=generator) * torch.linspace(0.2, 1, 6)


def test_recovered_mixture() -> None:
    """Every Gaussian of the distribution has components of its own, one or more, with its weight and mean."""
    mixture = CodeMixture.fit(_codes(240))
    center = mixture.means[:, :3].argmax(1)
    weights = torch.zeros(3).double().index_add(0, center, mixture.weights)
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.25, 0.25]).double())
    sums = torch.zeros(3, 6).double().index_add(0, center, mixture.weights[:, None] * mixture.means)
    assert (sums / weights[:, None] - CENTERS).abs().max() < 0.4


def test_samples_of_separate_kinds() -> None:
    """Samples are as close to a center as the codes are; a single Gaussian would put most of them in between."""
    codes = _codes(240)
    drawn = CodeMixture.fit(codes).sample(2000, seed=1).float()

    def farthest(points: Tensor) -> float:
        return float(torch.cdist(points, CENTERS).min(1).values.quantile(0.99))

    assert farthest(drawn) < 1.3 * farthest(codes)
    single = torch.distributions.MultivariateNormal(codes.mean(0), codes.T.cov())
    torch.manual_seed(0)
    assert farthest(single.sample((2000,))) > 2 * farthest(codes)


def test_single_gaussian() -> None:
    """Codes from one Gaussian get one component, whose samples have their mean and covariance."""
    generator = torch.Generator().manual_seed(2)
    factor = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    codes = torch.randn(400, 4, generator=generator, dtype=torch.float64) @ factor.T + 3
    mixture = CodeMixture.fit(codes)
    assert len(mixture.weights) == 1
    drawn = mixture.sample(40_000, seed=5)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), atol=0.15, rtol=0.05)
    assert torch.equal(drawn, mixture.sample(40_000, seed=5))
    assert not torch.equal(drawn, mixture.sample(40_000, seed=6))


def test_density() -> None:
    """The density is the weighted sum of those of the Gaussians, with the floor added to their covariances."""
    rng = np.random.default_rng(0)
    means, factors = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3))
    covariances = factors @ factors.transpose(0, 2, 1)
    mixture = CodeMixture(
        torch.tensor([0.3, 0.7], dtype=torch.float64), torch.from_numpy(means), torch.from_numpy(covariances), floor=0.1
    )
    points = rng.normal(size=(20, 3))
    expected = sum(
        weight * scipy.stats.multivariate_normal(mean, covariance + 0.1 * np.eye(3)).pdf(points)
        for weight, mean, covariance in zip((0.3, 0.7), means, covariances, strict=True)
    )
    np.testing.assert_allclose(mixture.log_density(torch.from_numpy(points)).exp(), expected, rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_codes(count: int) -> None:
    """With fewer codes than dimensions, samples stay in their span; a single code is repeated."""
    codes = torch.randn(count, 16, generator=torch.Generator().manual_seed(count)).double()
    drawn = CodeMixture.fit(codes).sample(50)
    offset = (drawn - codes.mean(0)).T
    basis = torch.linalg.svd((codes - codes.mean(0)).T, full_matrices=False)[0][:, : count - 1]
    torch.testing.assert_close(basis @ (basis.T @ offset), offset, atol=1e-6, rtol=0)
    assert count > 1 or torch.equal(drawn, codes.expand(50, -1))


def test_equal_codes() -> None:
    """Equal codes are repeated."""
    torch.testing.assert_close(CodeMixture.fit(torch.ones(30, 3)).sample(4), torch.ones(4, 3).double())


def test_joined_mixtures() -> None:
    """A mixture of mixtures draws from each according to its weight."""
    parts = [CodeMixture.fit(torch.full((5, 2), value)) for value in (0.0, 1.0, 2.0)]
    drawn = CodeMixture.joined(parts, (0.5, 0.2, 0.3)).sample(10_000)[:, 0]
    for value, weight in zip((0, 1, 2), (0.5, 0.2, 0.3), strict=True):
        assert (drawn == value).double().mean() == pytest.approx(weight, abs=0.02)
