"""How far a signed distance is from the exact one at the same points (METHODS 0.3b).

With e the difference of the predicted distance u from the exact one d at a point, and means over the points:

| figure | definition |
|---|---|
| `iou` | of the insides: share of points inside both among those inside either |
| `rmse`, `mae` | root of mean e^2, mean of the absolute e |
| `smape` | 2 mean(abs e / (abs d + abs u)), in [0, 2] |
| `eikonal` | mean abs(slope - 1) with the slope, the norm of grad u |

`near_` and a name is the same over the points near the surface.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

NEAR = 0.1
"""Points with an exact |distance| up to this, in the units given, are near the surface (HotSpot, medial axis)."""


@dataclass(frozen=True)
class FieldErrors:
    """The figures of the module; those of the eikonal are None where slopes are not known."""

    iou: float
    rmse: float
    mae: float
    smape: float
    near_rmse: float
    near_mae: float
    near_smape: float
    eikonal: float | None = None
    near_eikonal: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Name -> value, of what is known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def compare_fields(
    predicted: Float[NDArray[np.floating], " N"],
    exact: Float[NDArray[np.floating], " N"],
    slope: Float[NDArray[np.floating], " N"] | None = None,
) -> FieldErrors:
    """Figures over points drawn by the caller; those near the surface are NaN where no point is near."""
    inside, truly = predicted < 0, exact < 0
    union = int((inside | truly).sum())
    near = np.abs(exact) <= NEAR
    some = bool(near.any())
    off = None if slope is None else np.abs(slope - 1)
    return FieldErrors(
        float((inside & truly).sum() / union) if union else 1.0,
        *_errors(predicted, exact),
        *(_errors(predicted[near], exact[near]) if some else (np.nan, np.nan, np.nan)),
        None if off is None else float(off.mean()),
        None if off is None else float(off[near].mean()) if some else np.nan,
    )


def _errors(predicted: NDArray[np.floating], exact: NDArray[np.floating]) -> tuple[float, float, float]:
    error = np.abs(predicted - exact)
    size = np.abs(predicted) + np.abs(exact)
    relative = np.divide(2 * error, size, out=np.zeros_like(error), where=size > 0)
    return float(np.sqrt(np.square(error).mean())), float(error.mean()), float(relative.mean())
