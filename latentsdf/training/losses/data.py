"""Terms that compare values with values: no derivative of the field."""

from jaxtyping import Float
from torch import Tensor


def data_term(predicted: Tensor, distance: Tensor, clamp: float = 0.0) -> Tensor:
    """Mean absolute error, after clamping both to +-clamp where clamp > 0 (DeepSDF eq. 4)."""
    if clamp > 0:
        predicted, distance = predicted.clamp(-clamp, clamp), distance.clamp(-clamp, clamp)
    return (predicted - distance).abs().mean()


def norm_term(vectors: Float[Tensor, "... L"]) -> Tensor:
    """Mean Euclidean norm: the prior on codes and features (Compact-SDF, METHODS 1.2)."""
    # The norm has no gradient at 0, where a fresh grid starts.
    return (vectors.square().sum(-1) + 1e-12).sqrt().mean()
