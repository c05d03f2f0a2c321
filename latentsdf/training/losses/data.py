"""Loss terms that compare values, without derivatives."""

from jaxtyping import Float
from torch import Tensor


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


def norm_term(vectors: Float[Tensor, "... L"]) -> Tensor:
    """Mean Euclidean norm: penalty on codes and grid features, as in the code of Compact-SDF (Bai et al. 2026)."""
    # The norm has no gradient at 0, the initial value of the grid features.
    return (vectors.square().sum(-1) + 1e-12).sqrt().mean()
