"""The feature grid all shapes share, one row per lattice vertex, and its trilinear lookup.

Conventions: the grid covers [-1, 1]^3 with R cells per axis; vertex (i, j, k) lies at -1 + 2 (i, j, k) / R and is row
(i (R + 1) + j) (R + 1) + k. A lookup reads eight whole rows, so the memory it touches is contiguous per vertex.

The lookup is written as a gather and a weighted sum: it has first, second and forward-mode derivatives in the points
and in the rows. Features are piecewise trilinear, so their gradient jumps at cell faces and their pure second
derivatives are zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

_CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def corners(points: Float[Tensor, "N 3"], resolution: int) -> tuple[Int[Tensor, "N 8"], Float[Tensor, "N 8"]]:
    """Rows of the eight vertices around each point, and their trilinear weights (they sum to 1).

    Points outside the box take the features of the nearest point on it.
    """
    position = ((points + 1) * (resolution / 2)).clamp(0, resolution)
    lower = position.detach().floor().clamp(max=resolution - 1)
    fraction = position - lower
    side = resolution + 1
    strides = torch.tensor([side * side, side, 1], device=points.device)
    offsets = (_CORNERS.to(points.device) * strides).sum(-1)
    rows = (lower.long() * strides).sum(-1, keepdim=True) + offsets
    pairs = torch.stack((1 - fraction, fraction), dim=-1)
    weights = pairs[:, 0, :, None, None] * pairs[:, 1, None, :, None] * pairs[:, 2, None, None, :]
    return rows, weights.flatten(1)


def gather(table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]) -> Tensor:
    """Weighted sum of eight rows of the table a point: features (N, C)."""
    differentiated = weights.requires_grad or any(unpack_dual(t).tangent is not None for t in (table, weights))
    if differentiated or table.device.type != "cpu":
        return (table[rows] * weights[..., None]).sum(1)
    # Equal by test and several times faster, but it has neither second nor forward-mode derivatives.
    return nn.functional.embedding_bag(rows, table, per_sample_weights=weights.to(table.dtype), mode="sum")


class FeatureGrid(nn.Module):
    """Learned features on the (R + 1)^3 vertices of a lattice over the box, zero at the start (METHODS 1.1)."""

    def __init__(self, resolution: int, channels: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.channels = channels
        self.table = nn.Parameter(torch.zeros((resolution + 1) ** 3, channels))
        self._slot: Tensor | None = None
        self._active: Tensor | None = None

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Trilinear features at the points."""
        rows, weights = corners(points, self.resolution)
        if self._active is None:
            return gather(self.table, rows, weights)
        assert self._slot is not None
        return gather(self._active, self._slot[rows], weights)

    @contextmanager
    def touched(self, points: Float[Tensor, "N 3"]) -> Iterator[tuple[Tensor, Tensor]]:
        """Restrict the grid to the rows these points read, so that a step costs what it touches.

        Yields (rows, features): the distinct rows (U,) and a leaf copy of them (U, C), which receives the gradient.
        Inside the block, lookups at these points read the copy.
        """
        rows = corners(points.detach(), self.resolution)[0].flatten()
        distinct = self._renumber(rows)
        self._active = self.table.detach().index_select(0, distinct).requires_grad_()
        try:
            yield distinct, self._active
        finally:
            self._active = None

    def _renumber(self, rows: Int[Tensor, " N"]) -> Int[Tensor, " U"]:
        """The distinct rows, in an order that depends on `rows` alone; `_slot` leads from each to its place."""
        if self._slot is None or self._slot.device != rows.device:
            self._slot = torch.zeros(len(self.table), dtype=torch.int32, device=rows.device)
        if rows.device.type != "cpu":
            distinct = rows.unique()
        else:
            # The last writer of a slot represents its row: no sorting. numpy writes in order, torch's threads do not.
            slot, every = self._slot.numpy(), rows.numpy()
            order = np.arange(len(every), dtype=np.int32)
            slot[every] = order
            distinct = torch.from_numpy(every[slot[every] == order])
        self._slot[distinct] = torch.arange(len(distinct), dtype=torch.int32, device=rows.device)
        return distinct
