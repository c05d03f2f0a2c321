"""Random points that crowd where shapes are, and how densely they lie: for integrals over a box (METHODS 7.2)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Uniform in [-extent, extent]^dim, but for a share that is normal at the origin; what of it leaves the box is
    drawn uniformly after all.

    HotSpot's code keeps points outside the box, where its integral is not (METHODS 7.2) and grids have no features.
    """

    dim: int
    extent: float
    std: float
    share: float = 0.5

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N d"]:
        """Points of the mixture, the uniform ones first."""
        points = (torch.rand(count, self.dim, generator=generator) * 2 - 1) * self.extent
        first = count - math.ceil(count * self.share)
        normal = torch.randn(count - first, self.dim, generator=generator) * self.std
        inside = (normal.abs() <= self.extent).all(-1, keepdim=True)
        points[first:] = torch.where(inside, normal, points[first:])
        return points

    def density(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Probability density of the mixture at points of the box, for counts of which the share is whole."""
        kept = math.erf(self.extent / (self.std * math.sqrt(2))) ** self.dim
        uniform = (1 - self.share * kept) / (2 * self.extent) ** self.dim
        scale = self.share * (2 * math.pi * self.std**2) ** (-self.dim / 2)
        return uniform + scale * torch.exp(-points.square().sum(-1) / (2 * self.std**2))
