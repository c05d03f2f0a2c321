"""Training losses: pure functions of tensors. Signed distances are negative inside; lengths are in model space."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def data_term(predicted: Tensor, distance: Tensor, clamp: float = 0.0) -> Tensor:
    """Mean absolute error, after clamping both to +-clamp where clamp > 0 (DeepSDF eq. 4)."""
    if clamp > 0:
        predicted, distance = predicted.clamp(-clamp, clamp), distance.clamp(-clamp, clamp)
    return (predicted - distance).abs().mean()


def gradient(field: Callable[[Tensor], Tensor], points: Float[Tensor, "S P 3"]) -> Float[Tensor, "S P 3"]:
    """Spatial gradient of a field that treats points independently; differentiable in the field's parameters."""
    return torch.func.grad(lambda x: field(x).sum())(points)  # type: ignore[no-any-return]


def eikonal_term(gradients: Float[Tensor, "... 3"]) -> Tensor:
    """Mean | |grad s| - 1 | (IGR eq. 3 with the L1 norm, as HotSpot uses it)."""
    return (gradients.norm(dim=-1) - 1).abs().mean()


def heat_term(
    distance: Tensor, gradients: Float[Tensor, "... 3"], absorption: float, density: Tensor | float
) -> Tensor:
    """HotSpot's screened-Poisson energy (1/2) int exp(-2 lambda |s|) (|grad s|^2 + 1) dx, estimated without bias.

    `density` is the probability density of the *mixture* the points were drawn from (METHODS 7.2: dividing by each
    sample's own component counts the integral twice).
    """
    energy = 0.5 * torch.exp(-2 * absorption * distance.abs()) * (gradients.square().sum(-1) + 1)
    return (energy / density).mean()


def norm_term(vectors: Float[Tensor, "... L"]) -> Tensor:
    """Mean Euclidean norm: the prior on codes and features (Compact-SDF, METHODS 1.2)."""
    # The norm has no gradient at 0, where a fresh grid starts.
    return (vectors.square().sum(-1) + 1e-12).sqrt().mean()
