"""Terms in second derivatives: StEik's directional divergence, DiGS' divergence, the singular Hessian."""

import torch
from torch import Tensor

from latentsdf.models.derivatives import Jet, hessian, hessian_along_gradient, laplacian

_DIVERGENCE_RANGE = (0.1, 50.0)  # DiGS clamps; what is nearly harmonic counts as harmonic (METHODS 10.24)


def directional_divergence_term(at: Jet) -> Tensor:
    """Mean |grad u^T H grad u| / (|grad u|^2 + 1e-5): bending along the normal alone (StEik's code).

    Curvature of the surface itself is free, unlike with `divergence_term`.
    """
    squared = at.gradient.square().sum(-1)
    bending = (at.gradient * hessian_along_gradient(at)).sum(-1)
    return (bending.abs() / (squared + 1e-5)).mean()


def divergence_term(at: Jet) -> Tensor:
    """Mean |lap u|, clamped to [0.1, 50] (DiGS)."""
    return laplacian(at).abs().clamp(*_DIVERGENCE_RANGE).mean()


def singular_hessian_term(at: Jet) -> Tensor:
    """Mean |det H|: near its surface a distance has a direction in which its gradient does not change (METHODS 9)."""
    return torch.linalg.det(hessian(at)).abs().mean()
