"""Functionals of medial-axis-aware learning (METHODS 8.1): a phase field v allows the gradient to jump where v = 0.

Off the axis v = 1 and the distance is straight along its gradient; on it v = 0 and bending is free. Each function
estimates an integral from points with weights that sum to the volume (`volume`, (N,)) or to 1 over the cloud.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from latentsdf.models.derivatives import Jet, hessian_along_gradient

_FEWEST_NEIGHBOURS = 12
_NEARLY_ALL, _STRAY = 0.99, 2.0
_EXPANSION = (100.0, 100.0, 10.0)


def second_order_term(at: Jet, phase: Float[Tensor, " N"], volume: Float[Tensor, " N"]) -> Tensor:
    """int v^2 |H grad u|^2: zero for a distance whose axis lies where v = 0."""
    return (volume * phase.square() * hessian_along_gradient(at).square().sum(-1)).sum()


def ambrosio_tortorelli_term(
    phase: Float[Tensor, " N"], phase_gradient: Float[Tensor, "N d"], volume: Float[Tensor, " N"], width: float
) -> Tensor:
    """int width |grad v|^2 + (v - 1)^2 / (4 width): the measure of the set {v = 0} as width -> 0."""
    energy = width * phase_gradient.square().sum(-1) + (phase - 1).square() / (4 * width)
    return (volume * energy).sum()


def scaled_eikonal_term(gradients: Float[Tensor, "N d"], volume: Float[Tensor, " N"], width: float) -> Tensor:
    """(1 / width) int (|grad u|^2 - 1)^2; the paper's squared norm, which has a gradient at 0 (METHODS 10.35)."""
    return (volume * (gradients.square().sum(-1) - 1).square()).sum() / width


def weighted_surface_term(distance: Float[Tensor, " N"], weights: Float[Tensor, " N"], width: float) -> Tensor:
    """(1 / width^2) times the mean of u^2 over the surface, by the cloud's `density_weights`."""
    return (weights * distance.square()).sum() / width**2


def expansion_term(distance: Float[Tensor, " N"], volume: Float[Tensor, " N"]) -> Tensor:
    """sum_p int exp(-a_p |u|^p), p = 1, 2, 3, a = (100, 100, 10): holds zeros away from where there are no points."""
    magnitude = distance.abs()
    parts = [torch.exp(-factor * magnitude**power) for power, factor in enumerate(_EXPANSION, start=1)]
    return (volume * torch.stack(parts).sum(0)).sum()


def recovery_profile(distance: Tensor, core: float, width: float) -> Tensor:
    """v in the limit at a `distance` >= 0 from the axis: 0 within `core`, else 1 - exp((core - distance) / 2 width)."""
    return torch.where(distance <= core, 0.0, 1 - torch.exp((core - distance) / (2 * width)))


def density_weights(points: Float[NDArray[np.floating], "N d"]) -> NDArray[np.float64]:
    """What each point of a cloud stands for, so that crowded places count no more: (N,), summing to 1.

    Inverse of a smooth count of neighbours in a ball, whose radius grows until every ball holds 12 points. Strays do
    not make it grow further: it stays within a few times what nearly all points need, and strays weigh as the sparsest
    of those.
    """
    points = np.asarray(points, dtype=np.float64)
    tree = cKDTree(points)
    wanted = min(_FEWEST_NEIGHBOURS, len(points))
    needed = tree.query(points, k=wanted)[0][:, -1]
    reach = min(needed.max(), _STRAY * np.quantile(needed, _NEARLY_ALL))
    radius = 1e-3 * 2 ** max(0, math.ceil(math.log2(max(reach, 1e-300) / 1e-3)))
    pairs = tree.sparse_distance_matrix(tree, 1.0001 * radius, output_type="coo_matrix")
    relative = np.minimum(pairs.data / radius, 1 - 1e-9)
    bump = np.exp(1 / (relative**2 - 1))
    count = np.bincount(pairs.row, weights=bump, minlength=len(points))
    weights = 1 / np.maximum(count, count[needed <= radius].min())
    return np.asarray(weights / weights.sum())
