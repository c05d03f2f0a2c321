"""First and second spatial derivatives of a field by automatic differentiation, differentiable in its parameters.

A field u maps points (N, d) to distances (N,). Each distance depends on one point only, so the gradient of sum_n u(x_n)
contains grad u at every point. H denotes the Hessian of u.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.utils.precision import widest


@dataclass(frozen=True)
class Jet:
    """The 1-jet of a field: value and gradient at points, as part of the autograd graph."""

    points: Float[Tensor, "*N d"]
    """Points of the evaluation."""
    distance: Float[Tensor, "*N"]
    """Field values u."""
    gradient: Float[Tensor, "*N d"]
    """Spatial gradients grad u."""

    def __getitem__(self, rows: slice) -> "Jet":
        """Select some of the points; second derivatives must be taken from the whole jet, before slicing."""
        return Jet(self.points[rows], self.distance[rows], self.gradient[rows])


def jet(field: Callable[[Tensor], Tensor], points: Float[Tensor, "*N d"]) -> Jet:
    """Evaluate a field and its gradient with one forward and one reverse pass.

    Args:
        field: Map from points (N, d) to distances (N,). A field with a method `jet` computes its own jet.
        points: (N, d).

    Returns:
        The jet, whose gradient can be differentiated once more in the points, unless the field's own `jet` does not
        support it.
    """
    if hasattr(field, "jet"):
        own: Jet = field.jet(points)
        return own
    points = points.detach().requires_grad_()
    distance = field(points)
    return Jet(points, distance, _derivative(distance, points))


def gradient(field: Callable[[Tensor], Tensor], points: Float[Tensor, "*S 3"]) -> Float[Tensor, "*S 3"]:
    """Spatial gradient by `torch.func.grad`, which composes with other function transforms and compiles."""
    return torch.func.grad(lambda x: field(x).sum())(points)  # type: ignore[no-any-return]


def hessian_along_gradient(at: Jet) -> Float[Tensor, "*N d"]:
    """H grad u = (1/2) grad |grad u|^2, with one reverse pass instead of the d passes of the Hessian (StEik)."""
    return 0.5 * _derivative(at.gradient.square().sum(-1), at.points)


def hessian(at: Jet) -> Float[Tensor, "*N d d"]:
    """The Hessian H, with d reverse passes."""
    return torch.stack([_derivative(at.gradient[:, axis], at.points) for axis in range(at.points.shape[1])], dim=1)


def laplacian(at: Jet) -> Float[Tensor, "*N"]:
    """The Laplacian tr H, with d reverse passes."""
    axes = range(at.points.shape[1])
    return torch.stack([_derivative(at.gradient[:, axis], at.points)[:, axis] for axis in axes]).sum(0)


def norm(vectors: Float[Tensor, "*N d"]) -> Float[Tensor, "*N"]:
    """Euclidean norm, all of whose derivatives are 0 where the vector is 0; in float64 where the device has it.

    The derivatives of `Tensor.norm` of second and higher order are NaN there.
    """
    squares = widest(vectors).square().sum(-1)  # in float32 the squares of large coordinates overflow
    positive = squares > 0
    # The inner `where` keeps the infinite slope of the root at 0 out of the gradient: 0 times infinity is NaN.
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0).to(vectors.dtype)


def _derivative(values: Float[Tensor, "*N"], points: Float[Tensor, "*N d"]) -> Float[Tensor, "*N d"]:
    (derivative,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    return derivative
