"""A signed distance interpolated multilinearly from its values on a lattice.

The lattice covers [-extent, extent]^d with R cells per axis, and vertex (i, j[, k]), each in 0 .. R, has the position
-extent + 2 extent (i, j[, k]) / R. Beyond the box, the value is that of the nearest point of the box.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LatticeField(nn.Module):
    """Map from points (N, dim) to distances (N,), once differentiable in the points.

    Args:
        dim: Dimension d of the points, 2 or 3.
        resolution: Cells R per axis.
        extent: Half side of the box.

    Attributes:
        values: Distances at the vertices, (R + 1,) * d, indexed x, y[, z]; 0 at first.
    """

    def __init__(self, dim: int, resolution: int, extent: float) -> None:
        super().__init__()
        self.extent = extent
        self.values = nn.Parameter(torch.zeros((resolution + 1,) * dim))

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Interpolated distances."""
        dim = self.values.ndim
        # `grid_sample` has the coordinate of the last axis of the values first.
        grid = (points / self.extent).flip(-1).reshape(1, -1, *(1,) * (dim - 1), dim)
        found = nn.functional.grid_sample(self.values[None, None], grid, padding_mode="border", align_corners=True)
        return found.reshape(-1)
