"""The feature grid all shapes share, one row per lattice vertex, and its trilinear lookup.

Conventions: the grid covers [-1, 1]^3 with R cells per axis; vertex (i, j, k) lies at -1 + 2 (i, j, k) / R and is row
(i (R + 1) + j) (R + 1) + k. A lookup reads eight whole rows, so the memory it touches is contiguous per vertex.

The lookup has first, second and forward-mode derivatives in the points and in the rows. Features are piecewise
trilinear, so their gradient jumps at cell faces and their pure second derivatives are zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsdf.utils.numba_cache import compiled

_CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def cells(points: Float[Tensor, "N 3"], resolution: int) -> Int[Tensor, "N 3"]:
    """The cell each point lies in; points outside the box belong to the nearest cell.

    NaN belongs to the first one, where its weights are NaN: so is then what is looked up.
    """
    position = (points.detach() + 1) * (resolution / 2)
    return position.floor_().clamp_(0, resolution - 1).nan_to_num_(nan=0.0).long()


def corner_rows(lower: Int[Tensor, "N 3"], resolution: int) -> Int[Tensor, "N 8"]:
    """Rows of the eight vertices of each cell."""
    side = resolution + 1
    strides = torch.tensor([side * side, side, 1], device=lower.device)
    return (lower * strides).sum(-1, keepdim=True) + (_CORNERS.to(lower.device) * strides).sum(-1)


def corner_weights(points: Float[Tensor, "N 3"], lower: Int[Tensor, "N 3"], resolution: int) -> Float[Tensor, "N 8"]:
    """Trilinear weights of the corners of each point's cell; they sum to 1.

    Points outside the box take the features of the nearest point on it.
    """
    fraction = ((points + 1) * (resolution / 2)).clamp(0, resolution) - lower
    pairs = torch.stack((1 - fraction, fraction), dim=-1)
    return (pairs[:, 0, :, None, None] * pairs[:, 1, None, :, None] * pairs[:, 2, None, None, :]).flatten(1)


def gather(table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]) -> Tensor:
    """Weighted sum of eight rows of the table a point: features (N, C)."""
    features: Tensor = _Gather.apply(table, rows, weights)  # type: ignore[no-untyped-call]
    return features


def gather_plainly(table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]) -> Tensor:
    """What `gather` computes, in a line of torch."""
    return (table[rows] * weights[..., None]).sum(1)


class _Gather(torch.autograd.Function):
    """On a CPU compiled passes over the rows; wherever a higher derivative is wanted, plain torch operations."""

    @staticmethod
    def forward(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        if table.device.type != "cpu":
            return gather_plainly(table, rows, weights)
        return torch.from_numpy(_weighted_sum(table.detach().numpy(), rows.numpy(), weights.detach().numpy()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, table: Tensor, _: None, weights: Tensor) -> Tensor:
        old_table, rows, old_weights = ctx.saved_tensors
        return gather_plainly(table, rows, old_weights) + gather_plainly(old_table, rows, weights)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, rows, weights = ctx.saved_tensors
        for_table, _, for_weights = ctx.needs_input_grad
        of_table = of_weights = None
        if table.device.type == "cpu" and not torch.is_grad_enabled():
            passed = gradient.detach().contiguous().numpy()
            if for_table:
                scattered = _scatter(len(table), rows.numpy(), weights.detach().numpy(), passed)
                of_table = torch.from_numpy(scattered)
            if for_weights:
                of_weights = torch.from_numpy(_products(table.detach().numpy(), rows.numpy(), passed))
            return of_table, None, of_weights
        if for_table:
            parts = (weights[..., None] * gradient[:, None]).flatten(0, 1)
            of_table = torch.zeros_like(table).index_add(0, rows.flatten(), parts)
        if for_weights:
            of_weights = (table[rows] * gradient[:, None]).sum(-1)
        return of_table, None, of_weights


@compiled(parallel=True)
def _weighted_sum(table: NDArray[Any], rows: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    channels = table.shape[1]
    features = np.zeros((len(rows), channels), dtype=table.dtype)
    for n in prange(len(rows)):
        for c in range(8):
            row, weight = rows[n, c], weights[n, c]
            for k in range(channels):
                features[n, k] += weight * table[row, k]
    return features


# One thread: two would have to agree on who adds to a row, and the sum would depend on it.
@compiled()
def _scatter(count: int, rows: NDArray[Any], weights: NDArray[Any], gradient: NDArray[Any]) -> NDArray[Any]:
    channels = gradient.shape[1]
    table = np.zeros((count, channels), dtype=gradient.dtype)
    for n in range(len(rows)):
        for c in range(8):
            row, weight = rows[n, c], weights[n, c]
            for k in range(channels):
                table[row, k] += weight * gradient[n, k]
    return table


@compiled(parallel=True)
def _products(table: NDArray[Any], rows: NDArray[Any], gradient: NDArray[Any]) -> NDArray[Any]:
    weights = np.empty(rows.shape, dtype=gradient.dtype)
    for n in prange(len(rows)):
        for c in range(8):
            row = rows[n, c]
            product = gradient[n, 0] * table[row, 0]
            for k in range(1, table.shape[1]):
                product += gradient[n, k] * table[row, k]
            weights[n, c] = product
    return weights


@dataclass(frozen=True)
class SparseGridRows:
    """The part of a grid that a batch of points reads, so that a step costs what it touches.

    `rows` (U,) are the distinct rows, `features` (U, C) a leaf copy of them that receives the gradient. Called with
    points (N, 3), in the cells of those it was made for, it is the grid's lookup.
    """

    resolution: int
    rows: Int[Tensor, " U"]
    features: Float[Tensor, "U C"]
    lower: Int[Tensor, "N 3"]
    slots: Int[Tensor, "N 8"]

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Trilinear features, differentiable in the points and in the copied rows."""
        return gather(self.features, self.slots, corner_weights(points, self.lower, self.resolution))


class FeatureGrid(nn.Module):
    """Learned features on the (R + 1)^3 vertices of a lattice over the box, zero at the start (METHODS 1.1)."""

    def __init__(self, resolution: int, channels: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.channels = channels
        self.table = nn.Parameter(torch.zeros((resolution + 1) ** 3, channels))
        self._slot: Tensor | None = None

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Trilinear features at the points."""
        lower = cells(points, self.resolution)
        return gather(self.table, corner_rows(lower, self.resolution), corner_weights(points, lower, self.resolution))

    def touch(self, points: Float[Tensor, "N 3"]) -> SparseGridRows:
        """The rows these points read."""
        lower = cells(points, self.resolution)
        rows = corner_rows(lower, self.resolution)
        distinct, slots = self._renumber(rows.flatten())
        features = self.table.detach().index_select(0, distinct).requires_grad_()
        return SparseGridRows(self.resolution, distinct, features, lower, slots.view_as(rows))

    def _renumber(self, rows: Int[Tensor, " N"]) -> tuple[Int[Tensor, " U"], Int[Tensor, " N"]]:
        """The distinct rows, ascending, and the place of each row among them."""
        if rows.device.type != "cpu":
            distinct, slots = rows.unique(return_inverse=True)
            return distinct, slots
        # The last writer of a slot represents its row: no search. numpy writes in order, torch's threads do not.
        if self._slot is None:
            self._slot = torch.zeros(len(self.table), dtype=torch.int32)
        slot, every = self._slot.numpy(), rows.numpy()
        order = np.arange(len(every), dtype=np.int32)
        slot[every] = order
        # Ascending rows are read and written at several times the speed of scattered ones.
        distinct = np.sort(every[slot[every] == order].astype(np.int32)).astype(np.int64)
        slot[distinct] = np.arange(len(distinct), dtype=np.int32)
        return torch.from_numpy(distinct), torch.from_numpy(slot[every])
