"""Conversion between lattice indices and positions in model space, for torch tensors.

A lattice with R cells per axis covers [-1, 1]^3. Vertex i = (i, j, k), each in 0 .. R, has the position

    x = -1 + 2 i / R,

and a cell has the index of its lowest vertex, each in 0 .. R - 1.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentsdf.utils.precision import widened


def vertex_positions(index: Int[Tensor, "..."], resolution: int) -> Float[Tensor, "..."]:
    """Positions x = -1 + 2 i / R of vertex indices, computed in float64 and rounded once to float32."""
    return (widened(index) * (2 / resolution) - 1).float().to(index.device)


def lattice_coordinates(points: Float[Tensor, "..."], resolution: int) -> Float[Tensor, "..."]:
    """Continuous vertex indices (x + 1) R / 2 of points, differentiable in the points."""
    return (points + 1) * (resolution / 2)


def containing_cells(points: Float[Tensor, "N 3"], resolution: int) -> Int[Tensor, "N 3"]:
    """Index of the cell that contains each point.

    A point outside the box is assigned to the nearest cell. A NaN coordinate is assigned to cell 0, where the
    interpolation weights are NaN, so that values interpolated there are NaN as well.
    """
    position = lattice_coordinates(points.detach(), resolution)
    # Not in place: vmap has no rule for `clamp_`.
    return position.floor().clamp(0, resolution - 1).nan_to_num(nan=0.0).to(torch.long)
