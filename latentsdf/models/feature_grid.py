"""Shared feature grid with trilinear interpolation.

The grid covers [-1, 1]^3 with R cells per axis. Vertex (i, j, k) is at -1 + 2 (i, j, k) / R, and its features are row
(i (R + 1) + j) (R + 1) + k of the table. With t = (x + 1) R / 2 - (i, j, k) the position of x in its cell, in [0, 1]^3,

    G(x) = sum_{a, b, c in {0, 1}} w_a(t_1) w_b(t_2) w_c(t_3) g[i + a, j + b, k + c],   w_0(t) = 1 - t,  w_1(t) = t.

A lookup reads eight contiguous rows per point. It has derivatives of every order in the points and in the rows. G is
piecewise trilinear: its gradient jumps at cell faces, and its pure second derivatives are zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import forward_ad

from latentsdf.utils.numba_cache import compiled
from latentsdf.utils.torch_lattice import containing_cells, lattice_coordinates


def corner_rows(lower: Int[Tensor, "N 3"], resolution: int) -> Int[Tensor, "N 8"]:
    """Table rows of the eight vertices of each cell."""
    side = resolution + 1
    i, j, k = lower.unbind(-1)
    # Computed on the device: a constant would be copied there in each call.
    bit = torch.arange(2, device=lower.device)
    corners = (bit[:, None, None] * side + bit[:, None]) * side + bit
    return ((i * side + j) * side + k)[:, None] + corners.flatten()


def trilinear_weights(points: Float[Tensor, "N 3"], lower: Int[Tensor, "N 3"], resolution: int) -> Float[Tensor, "N 8"]:
    """Trilinear weights of the corners of each point's cell, which sum to 1.

    Points outside the box have the weights of the nearest point of the box.
    """
    fraction = lattice_coordinates(points, resolution).clamp(0, resolution) - lower
    pairs = torch.stack((1 - fraction, fraction), dim=-1)
    return (pairs[:, 0, :, None, None] * pairs[:, 1, None, :, None] * pairs[:, 2, None, None, :]).flatten(1)


def interpolate_lattice(
    tables: Float[Tensor, "S V C"], points: Float[Tensor, "S P 3"], resolution: int
) -> Float[Tensor, "S P C"]:
    """Trilinear interpolation G(x) in a lattice of values per shape.

    Without gradients, on the CPU, one kernel computes cells, weights and sums, which takes a tenth of the time.

    Args:
        tables: (S, (R + 1)^3, C) values at the vertices, in the order of the module docstring.
        points: (S, P, 3); points outside the box get the values of the nearest point of the box.
        resolution: Cells R per axis.

    Returns:
        Values (S, P, C), differentiable to every order in tables and points.
    """
    if _without_derivatives(tables, points):
        return torch.from_numpy(_interpolate(*_arrays(tables, points), resolution))
    flat = points.reshape(-1, 3)
    lower = containing_cells(flat, resolution)
    rows = corner_rows(lower, resolution)
    if len(tables) > 1:
        first = torch.arange(len(tables), device=tables.device) * tables.shape[1]
        rows = rows + first.repeat_interleave(points.shape[1])[:, None]
    values = interpolate_rows(tables.flatten(0, 1), rows, trilinear_weights(flat, lower, resolution))
    return values.unflatten(0, points.shape[:2])


def interpolate_rows(
    table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]
) -> Float[Tensor, "N C"]:
    """Features (N, C) as weighted sums of eight table rows per point.

    The result has derivatives of every order in table and weights, and supports `torch.func` transforms. While
    `torch.compile`, `torch.export` or `torch.jit.trace` records a graph, the operations of torch are used.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return interpolate_rows_reference(table, rows, weights)
    features: Tensor = _WeightedSum.apply(table, rows, weights)  # type: ignore[no-untyped-call]
    return features


def interpolate_rows_reference(
    table: Float[Tensor, "V C"], rows: Int[Tensor, "N 8"], weights: Float[Tensor, "N 8"]
) -> Float[Tensor, "N C"]:
    """Reference implementation of `interpolate_rows` in torch operations."""
    return (table[rows] * weights[..., None]).sum(1)


# With table T, rows r, weights w and an upstream gradient g, all derivatives of the interpolation are derivatives of
#     sum_{n, c, k} w[n, c] T[r[n, c], k] g[n, k],
# which is linear in each of T, w and g. The next three functions are its gradients by g, T and w, so each of them is
# differentiated by the other two. They run compiled kernels on the CPU and torch operations elsewhere.


class _WeightedSum(torch.autograd.Function):
    """Features (N, C): sum_c w[n, c] T[r[n, c]]."""

    @staticmethod
    def forward(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        if not _has_kernels(table, weights):
            return interpolate_rows_reference(table, rows, weights)
        return torch.from_numpy(_weighted_sum(*_arrays(table, rows, weights)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, rows, weights = ctx.saved_tensors
        of_table, _, of_weights = ctx.needs_input_grad
        return (
            _ScatterAdd.apply(rows, weights, gradient, len(table)) if of_table else None,  # type: ignore[no-untyped-call]
            None,
            _RowProducts.apply(table, rows, gradient) if of_weights else None,  # type: ignore[no-untyped-call]
        )

    @staticmethod
    def jvp(ctx: Any, table_rate: Tensor | None, _: None, weights_rate: Tensor | None) -> Tensor:
        table, rows, weights = ctx.saved_tensors
        return _product_rule(
            lambda t, w: _WeightedSum.apply(t, rows, w),  # type: ignore[no-untyped-call]
            (table, table_rate),
            (weights, weights_rate),
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], table: Tensor, rows: Tensor, weights: Tensor) -> Any:
        size = info.batch_size
        table, rows = _fold_table(size, (table, dims[0]), (rows, dims[1]))
        features = _WeightedSum.apply(table, rows, _fold(size, weights, dims[2]))  # type: ignore[no-untyped-call]
        return features.unflatten(0, (size, len(features) // size)), 0


class _ScatterAdd(torch.autograd.Function):
    """Gradient (V, C) by the table: weights times g, added up by row."""

    @staticmethod
    def forward(rows: Tensor, weights: Tensor, gradient: Tensor, count: int) -> Tensor:
        if not _has_kernels(weights, gradient):
            parts = (weights[..., None] * gradient[:, None]).reshape(-1, gradient.shape[1])
            return parts.new_zeros(count, gradient.shape[1]).index_add(0, rows.flatten(), parts)
        return torch.from_numpy(_scatter_add(count, *_arrays(rows, weights, gradient)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], _: Tensor) -> None:
        ctx.count = inputs[3]
        ctx.save_for_backward(*inputs[:3])
        ctx.save_for_forward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        rows, weights, gradient = ctx.saved_tensors
        _, of_weights, of_gradient, _ = ctx.needs_input_grad
        return (
            None,
            _RowProducts.apply(upstream, rows, gradient) if of_weights else None,  # type: ignore[no-untyped-call]
            _WeightedSum.apply(upstream, rows, weights) if of_gradient else None,  # type: ignore[no-untyped-call]
            None,
        )

    @staticmethod
    def jvp(ctx: Any, _: None, weights_rate: Tensor | None, gradient_rate: Tensor | None, __: None) -> Tensor:
        rows, weights, gradient = ctx.saved_tensors
        return _product_rule(
            lambda w, g: _ScatterAdd.apply(rows, w, g, ctx.count),  # type: ignore[no-untyped-call]
            (weights, weights_rate),
            (gradient, gradient_rate),
        )

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], rows: Tensor, weights: Tensor, gradient: Tensor, count: int
    ) -> Any:
        size = info.batch_size
        rows = _fold(size, rows, dims[0], step=count)
        weights, gradient = _fold(size, weights, dims[1]), _fold(size, gradient, dims[2])
        table = _ScatterAdd.apply(rows, weights, gradient, size * count)  # type: ignore[no-untyped-call]
        return table.unflatten(0, (size, count)), 0


class _RowProducts(torch.autograd.Function):
    """Gradient (N, 8) by the weights: inner products of g with the rows."""

    @staticmethod
    def forward(table: Tensor, rows: Tensor, gradient: Tensor) -> Tensor:
        if not _has_kernels(table, gradient):
            return (table[rows] * gradient[:, None]).sum(-1)
        return torch.from_numpy(_row_products(*_arrays(table, rows, gradient)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, rows, gradient = ctx.saved_tensors
        of_table, _, of_gradient = ctx.needs_input_grad
        return (
            _ScatterAdd.apply(rows, upstream, gradient, len(table)) if of_table else None,  # type: ignore[no-untyped-call]
            None,
            _WeightedSum.apply(table, rows, upstream) if of_gradient else None,  # type: ignore[no-untyped-call]
        )

    @staticmethod
    def jvp(ctx: Any, table_rate: Tensor | None, _: None, gradient_rate: Tensor | None) -> Tensor:
        table, rows, gradient = ctx.saved_tensors
        return _product_rule(
            lambda t, g: _RowProducts.apply(t, rows, g),  # type: ignore[no-untyped-call]
            (table, table_rate),
            (gradient, gradient_rate),
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], table: Tensor, rows: Tensor, gradient: Tensor) -> Any:
        size = info.batch_size
        table, rows = _fold_table(size, (table, dims[0]), (rows, dims[1]))
        products = _RowProducts.apply(table, rows, _fold(size, gradient, dims[2]))  # type: ignore[no-untyped-call]
        return products.unflatten(0, (size, len(products) // size)), 0


def _product_rule(
    product: Callable[[Tensor, Tensor], Tensor],
    one: tuple[Tensor, Tensor | None],
    other: tuple[Tensor, Tensor | None],
) -> Tensor:
    """Rate of a product that is linear in both factors, given each factor with its rate (None for zero)."""
    (a, a_rate), (b, b_rate) = one, other
    parts = [product(a_rate, b)] if a_rate is not None else []
    parts += [product(a, b_rate)] if b_rate is not None else []
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _fold(size: int, values: Tensor, dim: int | None, step: int = 0) -> Tensor:
    """Move the mapped dimension of `vmap` into the points: (N, ...) for each of B to (B N, ...).

    Args:
        size: Size B of the mapped dimension.
        values: Values, with the mapped dimension at `dim`; None if they are the same for all.
        dim: Position of the mapped dimension.
        step: Added to integer values once for each step along the mapped dimension.

    Returns:
        Values (B N, ...).
    """
    batched = values.expand(size, *values.shape) if dim is None else values.movedim(dim, 0)
    if step:
        batched = batched + step * torch.arange(size, device=values.device)[:, None, None]
    return batched.flatten(0, 1)


def _fold_table(size: int, table: tuple[Tensor, int | None], rows: tuple[Tensor, int | None]) -> tuple[Tensor, Tensor]:
    """Fold a table and the rows that refer to it; a table that is the same for all is not copied."""
    if table[1] is None:
        return table[0], _fold(size, *rows)
    values = table[0].movedim(table[1], 0)
    return values.flatten(0, 1), _fold(size, *rows, step=values.shape[1])


def _has_kernels(*tensors: Tensor) -> bool:
    """Whether the compiled kernels support these tensors: all float32 or all float64, in the memory of the CPU.

    Batched gradients (`is_grads_batched` of `torch.autograd.grad`, which `jacobian(vectorize=True)` uses) have no
    memory of their own; `torch.func` transforms call the rules for `vmap` instead.
    """
    dtype = tensors[0].dtype
    if dtype not in (torch.float32, torch.float64) or any(map(torch._C._functorch.is_legacy_batchedtensor, tensors)):
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == dtype for tensor in tensors)


def _without_derivatives(*tensors: Tensor) -> bool:
    """Whether kernels support these tensors and nothing differentiates, transforms or records the operation."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    if any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):
        return False
    differentiates = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not differentiates and forward_ad._current_level < 0 and _has_kernels(*tensors)


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    """Contiguous arrays of tensors; numba would compile the kernels again for other layouts."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


# Single-threaded: it takes a tenth of the time of the networks, and compiles in half the time of a parallel kernel.
@compiled(nogil=True)
def _interpolate(tables: NDArray[Any], points: NDArray[Any], resolution: int) -> NDArray[Any]:
    """Values (S, P, C), with the roundings of `trilinear_weights` and `_weighted_sum`."""
    shapes, count, _ = points.shape
    channels, side = tables.shape[2], resolution + 1
    values = np.zeros((shapes, count, channels), dtype=tables.dtype)
    one, half = points.dtype.type(1), points.dtype.type(resolution / 2)
    none, all_cells = points.dtype.type(0), points.dtype.type(resolution)
    weights = np.empty((3, 2), dtype=points.dtype)
    for shape in range(shapes):
        for point in range(count):
            row = 0
            for axis in range(3):
                position = (points[shape, point, axis] + one) * half
                lower = 0  # also of NaN, whose weights are NaN
                if position >= one:
                    lower = min(int(position), resolution - 1) if position < all_cells else resolution - 1
                position = none if position < none else position
                position = all_cells if position > all_cells else position
                fraction = position - points.dtype.type(lower)
                weights[axis, 0], weights[axis, 1] = one - fraction, fraction
                row = row * side + lower
            for corner in range(8):
                i, j, k = corner >> 2, corner >> 1 & 1, corner & 1
                weight = weights[0, i] * weights[1, j] * weights[2, k]
                at = row + (i * side + j) * side + k
                for c in range(channels):
                    values[shape, point, c] += weight * tables[shape, at, c]
    return values


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
        return interpolate_lattice(self.table[None], points[None], self.resolution)[0]

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
