"""Stratified Monte Carlo integration over a box in cells that are refined where the integrand varies.

Each point is uniform in a randomly drawn cell, so small cells receive as many points as large ones. With M cells and N
points, a point in a cell with edge length h has the weight h^d M / N, and sum(weights * f) estimates the integral
of f without bias (the paper is cited in `training.losses.medial_axis`).
"""

from collections.abc import Callable
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BASE_CELLS = 16  # per axis


class AdaptiveCells:
    """Partition of [-extent, extent]^dim into cubic cells: `lower` corners (M, d) and `edge` lengths (M,).

    Args:
        dim: Dimension of the box.
        extent: Half the side of the box.
    """

    def __init__(self, dim: int, extent: float) -> None:
        axis = torch.arange(_BASE_CELLS) * (2 * extent / _BASE_CELLS) - extent
        self.lower = torch.cartesian_prod(*[axis] * dim)
        self.edge = torch.full((len(self.lower),), 2 * extent / _BASE_CELLS)

    def split(self, needs_split: Callable[[Tensor, int], Bool[Tensor, " N"]], levels: int) -> None:
        """Halve cells level by level; a level considers only the cells that the previous one created.

        Args:
            needs_split: Maps points (N, d) and the level, from 1 on, to a mask (N,). A cell is halved if the mask is
                True at one of its corners or at its center.
            levels: Maximum number of times that a cell is halved.
        """
        dim = self.lower.shape[1]
        corners = torch.tensor(list(product((0.0, 1.0), repeat=dim)))
        probes = torch.cat((corners, torch.full((1, dim), 0.5)))
        is_new = torch.ones(len(self.lower), dtype=torch.bool)
        for level in range(1, levels + 1):
            points = self.lower[:, None] + self.edge[:, None, None] * probes
            chosen = is_new & needs_split(points.flatten(0, 1), level).unflatten(0, points.shape[:2]).any(1)
            half = self.edge[chosen] / 2
            children = (self.lower[chosen][:, None] + half[:, None, None] * corners).flatten(0, 1)
            is_new = torch.cat((torch.zeros(int((~chosen).sum()), dtype=torch.bool), torch.ones(len(children)).bool()))
            self.lower = torch.cat((self.lower[~chosen], children))
            self.edge = torch.cat((self.edge[~chosen], half.repeat_interleave(2**dim)))

    def sample(self, count: int, generator: torch.Generator) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        """Draw points and their quadrature weights.

        Args:
            count: Number of points N.
            generator: Random generator.

        Returns:
            Points (N, d) and weights (N,), whose sum is the volume of the box in expectation.
        """
        dim = self.lower.shape[1]
        rows = torch.randint(len(self.lower), (count,), generator=generator)
        edge = self.edge[rows]
        points = self.lower[rows] + edge[:, None] * torch.rand(count, dim, generator=generator)
        return points, edge**dim * (len(self.lower) / count)
