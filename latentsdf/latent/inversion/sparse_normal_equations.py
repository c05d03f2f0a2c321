"""Normal equations of fits with local codes, whose derivatives are sparse.

A distance depends on the D dense parameters (global code and placement) and, through trilinear weights phi, on the
local codes of eight vertices with C channels each. Its row of the Jacobian therefore has D + 8 C nonzero entries among
D + M, and the products J^T W J and J^T W r take (D + 8 C)^2 operations per point instead of (D + M)^2.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.models.feature_grid import corner_rows, trilinear_weights
from latentsdf.utils.lattice import containing_cells
from latentsdf.utils.numba_cache import compiled


class LocalTerms(NamedTuple):
    """Sparse derivatives by the local codes: vertex `rows` (K, P, 8), their `weights` (K, P, 8), and the derivative
    `by_feature` (K, P, C) by the interpolated code."""

    rows: Tensor
    weights: Tensor
    by_feature: Tensor


def local_terms(canonical: Float[Tensor, "K P 3"], by_feature: Float[Tensor, "K P C"], resolution: int) -> LocalTerms:
    """Find the vertices on which distances at canonical points depend."""
    points = canonical.reshape(-1, 3)
    lower = containing_cells(points, resolution)
    shape = (*canonical.shape[:2], 8)
    weights = trilinear_weights(points, lower, resolution)
    return LocalTerms(corner_rows(lower, resolution).view(shape), weights.view(shape), by_feature)


def add_normal_equations(
    hessian: Float[Tensor, "K N N"],
    gradient: Float[Tensor, "K N"],
    dense: Float[Tensor, "K P D"],
    local: LocalTerms,
    weight: Float[Tensor, "K P"],
    residual: Float[Tensor, "K P"],
    first: int,
) -> None:
    """Add J^T W J and J^T W r in place.

    Args:
        hessian: Sum of J^T W J, N = D + M.
        gradient: Sum of J^T W r.
        dense: Derivatives by the dense parameters, of which the local codes follow the first `first`.
        local: Derivatives by the local codes.
        weight: Weights W of the points.
        residual: Residuals r.
        first: Position of the local codes among the parameters.
    """
    size = hessian.shape[1] - dense.shape[2]
    order = [*range(first), *range(first + size, hessian.shape[1])]
    weighted = dense * weight[..., None]
    hessian[:, np.ix_(order, order)[0], np.ix_(order, order)[1]] += weighted.mT @ dense
    gradient[:, order] += (weighted * residual[..., None]).sum(1)
    arrays = (hessian, gradient, dense.contiguous(), *local, weight, residual)
    host = [array.detach().cpu().contiguous().numpy() for array in arrays]
    _add_local(*host, np.array(order), first)
    if hessian.device.type != "cpu":
        hessian.copy_(hessian.new_tensor(host[0]))
        gradient.copy_(gradient.new_tensor(host[1]))


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
                    product = scaled * dense[k, p, d]
                    row[order[d]] += product
        for a in range(len(order)):
            for b in range(first, first + hessian.shape[1] - len(order)):
                hessian[k, order[a], b] = hessian[k, b, order[a]]
