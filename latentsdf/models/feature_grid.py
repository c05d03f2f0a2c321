"""Shared feature grid with trilinear interpolation.

The grid covers [-1, 1]^3 with R cells per axis. Vertex (i, j, k) is at -1 + 2 (i, j, k) / R, and its features are row
(i (R + 1) + j) (R + 1) + k of the table. With t = (x + 1) R / 2 - (i, j, k) the position of x in its cell, in [0, 1]^3,

    G(x) = sum_{a, b, c in {0, 1}} w_a(t_1) w_b(t_2) w_c(t_3) g[i + a, j + b, k + c],   w_0(t) = 1 - t,  w_1(t) = t.

A lookup reads eight contiguous rows per point. It has first, second and forward-mode derivatives in the points and in
the rows. G is piecewise trilinear: its gradient jumps at cell faces, and its pure second derivatives are zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsdf.utils.lattice import containing_cells, lattice_coordinates
from latentsdf.utils.numba_cache import compiled

_CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def corner_rows(lower: Int[Tensor, "N 3"], resolution: int) -> Int[Tensor, "N 8"]:
    """Table rows of the eight vertices of each cell."""
    side = resolution + 1
    strides = torch.tensor([side * side, side, 1], device=lower.device)
    return (lower * strides).sum(-1, keepdim=True) + (_CORNERS.to(lower.device) * strides).sum(-1)


def trilinear_weights(points: Float[Tensor, "N 3"], lower: Int[Tensor, "N 3"], resolution: int) -> Float[Tensor, "N 8"]:
    """Trilinear weights of the corners of each point's cell, which sum to 1.

    Points outside the box have the weights of the nearest point of the box.
    """
    fraction = lattice_coordinates(points, resolution).clamp(0, resolution) - lower
    pairs = torch.stack((1 - fraction, fraction), dim=-1)
    return (pairs[:, 0, :, None, None] * pairs[:, 1, None, :, None] * pairs[:, 2, None, None, :]).flatten(1)


def interpolate_rows(
    table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]
) -> Float[Tensor, "N C"]:
    """Features (N, C) as weighted sums of eight table rows per point."""
    features: Tensor = _InterpolateRows.apply(table, rows, weights)  # type: ignore[no-untyped-call]
    return features


def interpolate_rows_reference(
    table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]
) -> Float[Tensor, "N C"]:
    """Reference implementation of `interpolate_rows` in torch operations."""
    return (table[rows] * weights[..., None]).sum(1)


class _InterpolateRows(torch.autograd.Function):
    """Compiled kernels on the CPU; torch operations on other devices and for higher derivatives."""

    @staticmethod
    def forward(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        if table.device.type != "cpu":
            return interpolate_rows_reference(table, rows, weights)
        return torch.from_numpy(_weighted_sum(table.detach().numpy(), rows.numpy(), weights.detach().numpy()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, table: Tensor, _: None, weights: Tensor) -> Tensor:
        old_table, rows, old_weights = ctx.saved_tensors
        return interpolate_rows_reference(table, rows, old_weights) + interpolate_rows_reference(
            old_table, rows, weights
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, rows, weights = ctx.saved_tensors
        needs_table, _, needs_weights = ctx.needs_input_grad
        table_gradient = weight_gradient = None
        if table.device.type == "cpu" and not torch.is_grad_enabled():
            upstream = gradient.detach().contiguous().numpy()
            if needs_table:
                scattered = _scatter_add(len(table), rows.numpy(), weights.detach().numpy(), upstream)
                table_gradient = torch.from_numpy(scattered)
            if needs_weights:
                weight_gradient = torch.from_numpy(_row_products(table.detach().numpy(), rows.numpy(), upstream))
            return table_gradient, None, weight_gradient
        if needs_table:
            parts = (weights[..., None] * gradient[:, None]).flatten(0, 1)
            table_gradient = torch.zeros_like(table).index_add(0, rows.flatten(), parts)
        if needs_weights:
            weight_gradient = (table[rows] * gradient[:, None]).sum(-1)
        return table_gradient, None, weight_gradient


@compiled(parallel=True)
def _weighted_sum(table: NDArray[Any], rows: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Features (N, C)."""
    channels = table.shape[1]
    features = np.zeros((len(rows), channels), dtype=table.dtype)
    for n in prange(len(rows)):
        for c in range(8):
            row, weight = rows[n, c], weights[n, c]
            for k in range(channels):
                features[n, k] += weight * table[row, k]
    return features


# Single-threaded: with several threads the order of the additions to a row, and so the rounding, would vary.
@compiled()
def _scatter_add(count: int, rows: NDArray[Any], weights: NDArray[Any], gradient: NDArray[Any]) -> NDArray[Any]:
    """Gradient (count, C) of the table."""
    channels = gradient.shape[1]
    table = np.zeros((count, channels), dtype=gradient.dtype)
    for n in range(len(rows)):
        for c in range(8):
            row, weight = rows[n, c], weights[n, c]
            for k in range(channels):
                table[row, k] += weight * gradient[n, k]
    return table


@compiled(parallel=True)
def _row_products(table: NDArray[Any], rows: NDArray[Any], gradient: NDArray[Any]) -> NDArray[Any]:
    """Gradient (N, 8) of the weights: inner products of the upstream gradient with the rows."""
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
    """The rows of a grid that a batch of points reads, so that the cost of a training step does not depend on the grid.

    It is callable like the grid, with the points that it was created for or with points in the same cells.
    """

    resolution: int
    """Cells per axis of the grid."""
    rows: Int[Tensor, " U"]
    """Distinct table rows, ascending."""
    features: Float[Tensor, "U C"]
    """Copy of these rows, a leaf tensor that receives their gradient."""
    lower: Int[Tensor, "N 3"]
    """Cell of each point."""
    slots: Int[Tensor, "N 8"]
    """Indices into `rows` of the corners of each point's cell."""

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Features (N, C), differentiable in the points and in the copied rows."""
        return interpolate_rows(self.features, self.slots, trilinear_weights(points, self.lower, self.resolution))


class FeatureGrid(nn.Module):
    """Learned features on the (R + 1)^3 vertices of a lattice, initialized to zero (Compact-SDF, Bai et al. 2026).

    Args:
        resolution: Cells R per axis.
        channels: Features C per vertex.
    """

    def __init__(self, resolution: int, channels: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.channels = channels
        self.table = nn.Parameter(torch.zeros((resolution + 1) ** 3, channels))
        self._slot: Tensor | None = None

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Trilinearly interpolated features G(x) of the points."""
        lower = containing_cells(points, self.resolution)
        return interpolate_rows(
            self.table, corner_rows(lower, self.resolution), trilinear_weights(points, lower, self.resolution)
        )

    def select_rows(self, points: Float[Tensor, "N 3"]) -> SparseGridRows:
        """Copy the rows that these points read."""
        lower = containing_cells(points, self.resolution)
        rows = corner_rows(lower, self.resolution)
        distinct, slots = self._unique_rows(rows.flatten())
        features = self.table.detach().index_select(0, distinct).requires_grad_()
        return SparseGridRows(self.resolution, distinct, features, lower, slots.view_as(rows))

    def _unique_rows(self, rows: Int[Tensor, " M"]) -> tuple[Int[Tensor, " U"], Int[Tensor, " M"]]:
        """The distinct rows, ascending, and the index of each row among them; `unique` in linear time on the CPU."""
        if rows.device.type != "cpu":
            distinct, slots = rows.unique(return_inverse=True)
            return distinct, slots
        # For duplicate rows the last assignment is kept. NumPy assigns in order; torch's threads do not.
        if self._slot is None:
            self._slot = torch.zeros(len(self.table), dtype=torch.int32)
        slot, all_rows = self._slot.numpy(), rows.numpy()
        order = np.arange(len(all_rows), dtype=np.int32)
        slot[all_rows] = order
        # Sorted, because ascending rows are read and written several times faster than scattered ones.
        distinct = np.sort(all_rows[slot[all_rows] == order].astype(np.int32)).astype(np.int64)
        slot[distinct] = np.arange(len(distinct), dtype=np.int32)
        return torch.from_numpy(distinct), torch.from_numpy(slot[all_rows])
