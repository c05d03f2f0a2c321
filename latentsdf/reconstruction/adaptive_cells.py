"""Cells that are small where it matters, and points in them with the volume each stands for (METHODS 8.3)."""

from collections.abc import Callable
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BASE = 16


class Cells:
    """A partition of [-extent, extent]^dim: `lower` corners (M, d) and `edge` lengths (M,)."""

    def __init__(self, dim: int, extent: float) -> None:
        axis = torch.arange(_BASE) * (2 * extent / _BASE) - extent
        self.lower = torch.cartesian_prod(*[axis] * dim)
        self.edge = torch.full((len(self.lower),), 2 * extent / _BASE)

    def split(self, wanted: Callable[[Tensor, int], Bool[Tensor, " N"]], levels: int) -> None:
        """Halve the cells of which a probe is `wanted(points, level)`, level by level; probes are corners and centres.

        Only cells made by the last split are looked at again.
        """
        dim = self.lower.shape[1]
        corners = torch.tensor(list(product((0.0, 1.0), repeat=dim)))
        probes = torch.cat((corners, torch.full((1, dim), 0.5)))
        fresh = torch.ones(len(self.lower), dtype=torch.bool)
        for level in range(1, levels + 1):
            points = self.lower[:, None] + self.edge[:, None, None] * probes
            chosen = fresh & wanted(points.flatten(0, 1), level).unflatten(0, points.shape[:2]).any(1)
            half = self.edge[chosen] / 2
            children = (self.lower[chosen][:, None] + half[:, None, None] * corners).flatten(0, 1)
            fresh = torch.cat((torch.zeros(int((~chosen).sum()), dtype=torch.bool), torch.ones(len(children)).bool()))
            self.lower = torch.cat((self.lower[~chosen], children))
            self.edge = torch.cat((self.edge[~chosen], half.repeat_interleave(2**dim)))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        """Points uniform in cells drawn at random, and weights: sum(weights * f) estimates the integral of f."""
        dim = self.lower.shape[1]
        rows = torch.randint(len(self.lower), (count,), generator=generator)
        edge = self.edge[rows]
        points = self.lower[rows] + edge[:, None] * torch.rand(count, dim, generator=generator)
        return points, edge**dim * (len(self.lower) / count)
