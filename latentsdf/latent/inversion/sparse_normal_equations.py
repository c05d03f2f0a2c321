"""Normal equations of fits; the derivatives by local codes are sparse.

A distance depends on the D dense parameters (global code and placement) and, through trilinear weights, on the local
codes of eight vertices with C channels each. Its row of the Jacobian therefore has D + 8 C nonzero entries among D + M,
and J^T W J and J^T W r take (D + 8 C)^2 operations per point instead of (D + M)^2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.models.feature_grid import corner_rows, interpolate_rows, trilinear_weights
from latentsdf.utils.numba_cache import compiled
from latentsdf.utils.torch_lattice import containing_cells


@dataclass(frozen=True)
class LocalDerivatives:
    """Derivatives of the distances at P points of K fits by the local codes of a lattice with V vertices."""

    rows: Int[Tensor, "K P 8"]
    """Vertices of the cell of each point."""
    weights: Float[Tensor, "K P 8"]
    """Their trilinear weights."""
    by_feature: Float[Tensor, "K P C"]
    """Derivatives by the interpolated local code."""

    @staticmethod
    def at(
        canonical: Float[Tensor, "K P 3"], by_feature: Float[Tensor, "K P C"], resolution: int
    ) -> "LocalDerivatives":
        """Derivatives at canonical points, in a lattice with `resolution` cells per axis."""
        points = canonical.reshape(-1, 3)
        lower = containing_cells(points, resolution)
        rows, weights = corner_rows(lower, resolution), trilinear_weights(points, lower, resolution)
        shape = (*canonical.shape[:2], 8)
        return LocalDerivatives(rows.view(shape), weights.view(shape), by_feature)

    def by_table(self, table: Float[Tensor, "M L"]) -> Float[Tensor, "K P L"]:
        """Derivatives by u, if the local codes of all vertices are `table` @ u."""
        channels, length = self.by_feature.shape[2], table.shape[1]
        by_vertex = table.reshape(-1, channels * length)
        at_points = interpolate_rows(by_vertex, self.rows.flatten(0, 1), self.weights.flatten(0, 1))
        at_points = at_points.view(*self.by_feature.shape, length)
        return torch.einsum("kpc,kpcl->kpl", self.by_feature, at_points)

    def transformed(self, basis: Float[Tensor, "C C"], scale: Float[Tensor, "K 1"]) -> "LocalDerivatives":
        """Derivatives by coordinates v with local codes `basis` @ v at each vertex, divided by a scale."""
        return LocalDerivatives(self.rows, self.weights, self.by_feature @ basis / scale[..., None])


def add_normal_equations(
    hessian: Float[Tensor, "K N N"],
    gradient: Float[Tensor, "K N"],
    dense: Float[Tensor, "K P D"],
    weight: Float[Tensor, "K P"],
    residual: Float[Tensor, "K P"],
    local: LocalDerivatives | None = None,
    first: int = 0,
) -> None:
    """Add J^T W J and J^T W r in place.

    Args:
        hessian: Sum of J^T W J, with N = D + M.
        gradient: Sum of J^T W r.
        dense: Derivatives by the dense parameters.
        weight: Weights W of the points.
        residual: Residuals r.
        local: Derivatives by the M local codes; None if M is 0.
        first: Number of dense parameters that precede the local codes in N; the others follow them.
    """
    weighted = dense * weight[..., None]
    products, by_dense = weighted.mT @ dense, (weighted * residual[..., None]).sum(1)
    if local is None:
        hessian += products
        gradient += by_dense
        return
    size = hessian.shape[1] - dense.shape[2]
    order = torch.tensor([*range(first), *range(first + size, hessian.shape[1])])
    hessian[:, order[:, None], order] += products
    gradient[:, order] += by_dense
    arrays = (hessian, gradient, dense, local.rows, local.weights, local.by_feature, weight, residual)
    host = [array.detach().cpu().contiguous().numpy() for array in arrays]
    _add_local(*host, order.numpy(), first)
    if hessian.device.type != "cpu":
        hessian.copy_(torch.from_numpy(host[0]))
        gradient.copy_(torch.from_numpy(host[1]))


@compiled(parallel=True)
def _add_local(
    hessian: NDArray[Any],
    gradient: NDArray[Any],
    dense: NDArray[Any],
    rows: NDArray[Any],
    weights: NDArray[Any],
    by_feature: NDArray[Any],
    weight: NDArray[Any],
    residual: NDArray[Any],
    order: NDArray[Any],
    first: int,
) -> None:
    """Add the entries of the local codes, and those of local codes with dense parameters."""
    channels = by_feature.shape[2]
    for k in prange(len(hessian)):
        position = np.empty(8 * channels, np.int64)
        value = np.empty(8 * channels, dense.dtype)
        for p in range(dense.shape[1]):
            if weight[k, p] == 0:
                continue
            for c in range(8):
                for f in range(channels):
                    position[c * channels + f] = first + rows[k, p, c] * channels + f
                    value[c * channels + f] = weights[k, p, c] * by_feature[k, p, f]
            for a in range(8 * channels):
                scaled = weight[k, p] * value[a]
                row = hessian[k, position[a]]
                gradient[k, position[a]] += scaled * residual[k, p]
                for b in range(8 * channels):
                    row[position[b]] += scaled * value[b]
                for d in range(dense.shape[2]):
                    row[order[d]] += scaled * dense[k, p, d]
        for a in order:
            for b in range(first, first + hessian.shape[1] - len(order)):
                hessian[k, a, b] = hessian[k, b, a]
