"""How far a signed distance is from the exact one at the same points (METHODS 0.3b)."""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

NEAR = 0.1
"""Points with an exact |distance| up to this, in the units given, are near the surface (HotSpot, medial axis)."""


@dataclass(frozen=True)
class FieldErrors:
    """`iou` of the insides; RMSE, MAE and SMAPE = 2 mean(|e| / (|d| + |u|)) in [0, 2], everywhere and near."""

    iou: float
    rmse: float
    mae: float
    smape: float
    near_rmse: float
    near_mae: float
    near_smape: float

    def as_dict(self) -> dict[str, float]:
        """Name -> value."""
        return asdict(self)


def compare_fields(
    predicted: Float[NDArray[np.floating], " N"], exact: Float[NDArray[np.floating], " N"]
) -> FieldErrors:
    """Figures over points drawn by the caller; those near the surface are NaN where no point is near."""
    inside, truly = predicted < 0, exact < 0
    union = int((inside | truly).sum())
    near = np.abs(exact) <= NEAR
    return FieldErrors(
        float((inside & truly).sum() / union) if union else 1.0,
        *_errors(predicted, exact),
        *(_errors(predicted[near], exact[near]) if near.any() else (np.nan, np.nan, np.nan)),
    )


def _errors(predicted: NDArray[np.floating], exact: NDArray[np.floating]) -> tuple[float, float, float]:
    error = np.abs(predicted - exact)
    size = np.abs(predicted) + np.abs(exact)
    relative = np.divide(2 * error, size, out=np.zeros_like(error), where=size > 0)
    return float(np.sqrt(np.square(error).mean())), float(error.mean()), float(relative.mean())
