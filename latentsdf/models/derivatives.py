"""Values and derivatives of a field at points, differentiable in the field's parameters.

A field maps points (N, d) to distances (N,), each from its own point alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Jet:
    """`distance` (N,) and spatial `gradient` (N, d) of a field at `points` (N, d)."""

    points: Tensor
    distance: Tensor
    gradient: Tensor

    def __getitem__(self, rows: slice) -> "Jet":
        """Some of the points. Derivatives of the gradient are taken on the whole jet, before slicing."""
        return Jet(self.points[rows], self.distance[rows], self.gradient[rows])


def jet(field: Callable[[Tensor], Tensor], points: Float[Tensor, "N d"]) -> Jet:
    """One forward and one reverse pass; the points of the result can be differentiated once more.

    A field with a `jet` method of its own, which knows a shorter way, is asked for it.
    """
    if hasattr(field, "jet"):
        own: Jet = field.jet(points)
        return own
    points = points.detach().requires_grad_()
    distance = field(points)
    return Jet(points, distance, _derivative(distance, points))


def gradient(field: Callable[[Tensor], Tensor], points: Float[Tensor, "S P 3"]) -> Float[Tensor, "S P 3"]:
    """Spatial gradient of a field that treats points independently; differentiable in the field's parameters."""
    return torch.func.grad(lambda x: field(x).sum())(points)  # type: ignore[no-any-return]


def hessian_along_gradient(at: Jet) -> Float[Tensor, "N d"]:
    """H grad u = (1/2) grad |grad u|^2: one more reverse pass instead of the d that the Hessian takes (METHODS 6)."""
    return 0.5 * _derivative(at.gradient.square().sum(-1), at.points)


def hessian(at: Jet) -> Float[Tensor, "N d d"]:
    """All second derivatives, by d reverse passes."""
    return torch.stack([_derivative(at.gradient[:, axis], at.points) for axis in range(at.points.shape[1])], dim=1)


def laplacian(at: Jet) -> Float[Tensor, " N"]:
    """Trace of the Hessian, by d reverse passes."""
    axes = range(at.points.shape[1])
    return torch.stack([_derivative(at.gradient[:, axis], at.points)[:, axis] for axis in axes]).sum(0)


def _derivative(values: Tensor, points: Tensor) -> Tensor:
    (derivative,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    return derivative
