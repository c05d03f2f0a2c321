"""Functionals of "Medial Axis Aware Learning of Signed Distance Functions" (2026, arXiv 2604.16512).

u is the signed distance, H its Hessian, and v in [0, 1] a phase field: v = 1 away from the medial axis, where u is
linear along its gradient (H grad u = 0), and v = 0 on the axis, where the gradient may jump. Integrals are estimated
from points with weights: `volume` (N,) sums to the volume of the domain, `weights` (N,) to 1 over the cloud.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from latentsdf.models.derivatives import Jet, hessian_along_gradient

_MIN_NEIGHBORS = 12
_INLIER_SHARE, _RADIUS_LIMIT = 0.99, 2.0
_EXPANSION = (100.0, 100.0, 10.0)
"""Factors a_p of the expansion term."""


def second_order_term(at: Jet, phase: Float[Tensor, "*N"], volume: Float[Tensor, "*N"]) -> Tensor:
    """Integral of v^2 |H grad u|^2: 0 for a signed distance whose medial axis lies in {v = 0}."""
    return (volume * phase.square() * hessian_along_gradient(at).square().sum(-1)).sum()


def ambrosio_tortorelli_term(
    phase: Float[Tensor, "*N"], phase_gradient: Float[Tensor, "*N d"], volume: Float[Tensor, "*N"], width: float
) -> Tensor:
    """Integral of width |grad v|^2 + (v - 1)^2 / (4 width): the measure of the set {v = 0} as width -> 0."""
    energy = width * phase_gradient.square().sum(-1) + (phase - 1).square() / (4 * width)
    return (volume * energy).sum()


def scaled_eikonal_term(gradients: Float[Tensor, "*N d"], volume: Float[Tensor, "*N"], width: float) -> Tensor:
    """(1 / width) int (|grad u|^2 - 1)^2; the squared norm is differentiable at grad u = 0."""
    return (volume * (gradients.square().sum(-1) - 1).square()).sum() / width


def weighted_surface_term(distance: Float[Tensor, "*N"], weights: Float[Tensor, "*N"], width: float) -> Tensor:
    """(1 / width^2) int_S u^2, where `weights` are the `density_weights` of the cloud."""
    return (weights * distance.square()).sum() / width**2


def expansion_term(distance: Float[Tensor, "*N"], volume: Float[Tensor, "*N"]) -> Tensor:
    """sum_p int exp(-a_p |u|^p), p = 1, 2, 3, a = (100, 100, 10): penalizes zeros away from the cloud."""
    magnitude = distance.abs()
    parts = [torch.exp(-factor * magnitude**power) for power, factor in enumerate(_EXPANSION, start=1)]
    return (volume * torch.stack(parts).sum(0)).sum()


def recovery_profile(distance: Tensor, core: float, width: float) -> Tensor:
    """Optimal v at a distance from the axis: 0 within `core`, else 1 - exp((core - distance) / (2 width)).

    Args:
        distance: Distances from the axis, >= 0, of any shape.
        core: Distance up to which v is 0.
        width: Width epsilon of the band.

    Returns:
        v in [0, 1), in the shape of `distance`.
    """
    return torch.where(distance <= core, 0.0, 1 - torch.exp((core - distance) / (2 * width)))


def density_weights(points: Float[NDArray[np.floating], "N d"]) -> NDArray[np.float64]:
    """Quadrature weights of the points of a cloud of varying density.

    A weight is the inverse of a smooth count of neighbors in a ball. The common radius of the balls is doubled until
    each holds 12 points, but not beyond about twice the radius that suffices for 99 % of the points. The remaining
    outliers get the largest weight of the other points.

    Args:
        points: Points (N, d) of the cloud.

    Returns:
        Weights (N,) that sum to 1.
    """
    points = np.asarray(points, dtype=np.float64)
    tree = cKDTree(points)
    wanted = min(_MIN_NEIGHBORS, len(points))
    needed = tree.query(points, k=wanted)[0][:, -1]
    reach = min(needed.max(), _RADIUS_LIMIT * np.quantile(needed, _INLIER_SHARE))
    radius = 1e-3 * 2 ** max(0, math.ceil(math.log2(max(reach, 1e-300) / 1e-3)))
    pairs = tree.sparse_distance_matrix(tree, 1.0001 * radius, output_type="coo_matrix")
    relative = np.minimum(pairs.data / radius, 1 - 1e-9)
    bump = np.exp(1 / (relative**2 - 1))
    count = np.bincount(pairs.row, weights=bump, minlength=len(points))
    weights = 1 / np.maximum(count, count[needed <= radius].min())
    return np.asarray(weights / weights.sum())
