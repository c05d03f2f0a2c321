"""Loss terms that compare values, without derivatives."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def data_term(predicted: Tensor, distance: Tensor, clamp: float = 0.0) -> Tensor:
    """Mean absolute error of signed distances.

    Args:
        predicted: Predicted signed distances, of any shape.
        distance: True signed distances of the same shape.
        clamp: If above 0, both are clamped to +-clamp first (Park et al. 2019, Eq. 4).
    """
    if clamp > 0:
        predicted, distance = predicted.clamp(-clamp, clamp), distance.clamp(-clamp, clamp)
    return (predicted - distance).abs().mean()


def relative_term(predicted: Float[Tensor, "*N"], distance: Float[Tensor, "*N"]) -> Tensor:
    """Mean |u - d| / (|d| + 0.01), the relative error of the code of Instant-NGP (Müller et al. 2022)."""
    return ((predicted - distance).abs() / (distance.abs() + 0.01)).mean()


def hinge_kantorovich_rubinstein_term(
    predicted: Float[Tensor, "*N"], outside: Bool[Tensor, "*N"], margin: float, weight: float
) -> Tensor:
    """Hinge-Kantorovich-Rubinstein loss of a 1-Lipschitz field (Coiffier and Béthune 2024).

    With y = 1 outside and -1 inside, it is the mean of max(0, m - y u) - y u / lambda over the outside points, plus the
    mean over the inside points. The second part is smallest where the slope is 1, the first part decides the sign.

    Args:
        predicted: Field values u (N,).
        outside: Mask (N,) of the points outside the shape; the others are inside.
        margin: Length m.
        weight: lambda, the weight of the first part relative to the second.

    Returns:
        The scalar loss; a side without points adds nothing.
    """
    signed = torch.where(outside, predicted, -predicted)
    losses = nn.functional.relu(margin - signed) - signed / weight
    sides = torch.stack((outside, ~outside)).to(losses.dtype)
    return ((sides * losses).sum(1) / sides.sum(1).clamp(min=1)).sum()


def norm_term(vectors: Float[Tensor, "... L"]) -> Tensor:
    """Mean Euclidean norm: penalty on codes and grid features, as in the code of Compact-SDF (Bai et al. 2026)."""
    # The norm has no gradient at 0, the initial value of the grid features.
    return (vectors.square().sum(-1) + 1e-12).sqrt().mean()
