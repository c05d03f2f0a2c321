"""Sampling density for Monte Carlo integrals over the box: a uniform density mixed with a Gaussian at the origin.

Shapes lie around the origin, so more of the samples fall where the integrand varies. With box half extent `e`,
dimension `d`, standard deviation `s` and Gaussian weight `a`, Gaussian samples outside the box are replaced by uniform
ones, which gives the density

    q(x) = (1 - a k) / (2 e)^d + a N(x; 0, s^2 I)    for x in [-e, e]^d,    k = erf(e / (s sqrt(2)))^d.

An integral over the box is estimated without bias by the mean of `f(x) / q(x)` (the heat term of HotSpot, Wang et al.
2025). The released HotSpot code differs: it keeps Gaussian samples outside the box and divides each sample by the
density of its own component instead of the mixture density.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.schedules import is_used
from latentsdf.config.training import LossConfig


@dataclass(frozen=True)
class UniformGaussianMixture:
    """Mixture of a uniform density on a box and a Gaussian at its center, restricted to the box."""

    dim: int
    """Dimension d."""
    extent: float
    """Half extent e of the box [-e, e]^d."""
    std: float
    """Standard deviation s of the Gaussian, per axis."""
    share: float = 0.5
    """Weight a of the Gaussian component."""

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N d"]:
        """Draw points of the mixture.

        Args:
            count: Number of points N.
            generator: Source of random numbers, on the CPU.

        Returns:
            Points (N, d), the `N - ceil(a N)` samples of the uniform component first.
        """
        points = (torch.rand(count, self.dim, generator=generator) * 2 - 1) * self.extent
        first = count - math.ceil(count * self.share)
        normal = torch.randn(count - first, self.dim, generator=generator) * self.std
        inside = (normal.abs() <= self.extent).all(-1, keepdim=True)
        points[first:] = torch.where(inside, normal, points[first:])
        return points

    def density(self, points: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Evaluate the probability density q at points of the box.

        The density is exact for sample counts N where `a N` is an integer.
        """
        kept = math.erf(self.extent / (self.std * math.sqrt(2))) ** self.dim
        uniform = (1 - self.share * kept) / (2 * self.extent) ** self.dim
        scale = self.share * (2 * math.pi * self.std**2) ** (-self.dim / 2)
        return uniform + scale * torch.exp(-points.square().sum(-1) / (2 * self.std**2))


HEAT_MIXTURE = UniformGaussianMixture(dim=3, extent=1.0, std=0.5)
"""Density of the points at which the heat term of the general branch is estimated."""


def heat_point_count(loss: LossConfig) -> int:
    """Number of mixture points per shape that the heat term of the general branch needs.

    The number is even, so that both components of the mixture have exactly half of the points; 0 without such a term.
    """
    has_heat_term = is_used(loss.heat) and loss.regularizer_branch == "general"
    return 2 * math.ceil(loss.regularizer_points / 2) if has_heat_term else 0


def draw_heat_points(count: int, rng: np.random.Generator) -> Float[Tensor, "N 3"]:
    """Draw points of `HEAT_MIXTURE`; a count of 0 leaves the state of `rng` unchanged."""
    if count == 0:
        return torch.empty(0, 3)
    return HEAT_MIXTURE.draw(count, torch.Generator().manual_seed(int(rng.integers(2**63))))
