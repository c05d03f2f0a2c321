"""Normal equations of fits; the derivatives by local codes are sparse.

A distance depends on the D dense parameters (global code and placement) and, through trilinear weights, on the local
codes of eight vertices with C channels each. Its row of the Jacobian therefore has D + 8 C nonzero entries among D + M,
at places that all points of a cell share, and J^T C J takes (D + 8 C)^2 operations per point instead of (D + M)^2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentsdf.models.feature_grid import corner_rows, interpolate_rows, trilinear_weights
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
    curvature: Float[Tensor, "K P"],
    slope: Float[Tensor, "K P"],
    local: LocalDerivatives | None = None,
    first: int = 0,
) -> None:
    """Add J^T C J and J^T y in place.

    Points of one cell depend on the same local codes, so they share one dense product.

    Args:
        hessian: Sum of J^T C J, with N = D + M.
        gradient: Sum of J^T y.
        dense: Derivatives by the dense parameters.
        curvature: Weights C of the points.
        slope: Derivatives y of the cost by the distances; 0 where C is.
        local: Derivatives by the M local codes; None if M is 0.
        first: Number of dense parameters that precede the local codes in N; the others follow them.
    """
    if local is None:
        hessian += (dense * curvature[..., None]).mT @ dense
        gradient += (dense * slope[..., None]).sum(1)
        return
    channels = local.by_feature.shape[2]
    local_count = hessian.shape[1] - dense.shape[2]
    order = torch.arange(dense.shape[2], device=dense.device)
    order[first:] += local_count
    offsets = torch.arange(channels, device=dense.device)
    for k in range(len(dense)):
        used = curvature[k].nonzero()[:, 0]
        used = used[local.rows[k, used, 0].argsort()]  # the first vertex of a cell identifies it
        rows = local.rows[k, used]
        by_corner = local.weights[k, used, :, None] * local.by_feature[k, used, None]
        jacobian = torch.cat((dense[k, used], by_corner.flatten(1)), dim=1)
        weighted = jacobian * curvature[k, used, None]
        _, sizes = rows[:, 0].unique_consecutive(return_counts=True)
        start = 0
        for size in sizes.tolist():
            cell = slice(start, start + size)
            parameters = torch.cat((order, (first + rows[start, :, None] * channels + offsets).flatten()))
            hessian[k, parameters[:, None], parameters] += weighted[cell].T @ jacobian[cell]
            gradient[k, parameters] += slope[k, used[cell]] @ jacobian[cell]
            start += size
