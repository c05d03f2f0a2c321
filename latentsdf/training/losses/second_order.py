"""Loss terms in the second derivatives of a field u with gradient grad u and Hessian H.

Sources: StEik (Yang et al. 2023), DiGS (Ben-Shabat et al. 2022), Neural-Singular-Hessian (Wang et al. 2023).
"""

import torch
from torch import Tensor

from latentsdf.models.derivatives import Jet, hessian, hessian_along_gradient, laplacian

_LAPLACIAN_RANGE = (0.1, 50.0)
"""Range to which DiGS' code clamps |lap u|; outside it, the gradient is zero."""


def directional_divergence_term(at: Jet) -> Tensor:
    """Mean |grad u^T H grad u| / (|grad u|^2 + 1e-5), as in StEik's code.

    It penalizes the second derivative along the normal only; unlike `laplacian_term`, it leaves the curvature of level
    sets free.
    """
    squared = at.gradient.square().sum(-1)
    bending = (at.gradient * hessian_along_gradient(at)).sum(-1)
    return (bending.abs() / (squared + 1e-5)).mean()


def laplacian_term(at: Jet) -> Tensor:
    """Mean |lap u|, clamped to [0.1, 50], as in DiGS' code."""
    return laplacian(at).abs().clamp(*_LAPLACIAN_RANGE).mean()


def singular_hessian_term(at: Jet) -> Tensor:
    """Mean |det H| (Neural-Singular-Hessian): H grad u = 0 for a distance, so its Hessian is singular."""
    return torch.linalg.det(hessian(at)).abs().mean()
