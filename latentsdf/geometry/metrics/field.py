"""Errors of a signed distance at sample points.

With the predicted distance u, the exact distance d (both negative inside), the error e = u - d, and means over points:

| name | definition |
|---|---|
| `iou` | number of points with u < 0 and d < 0, divided by the number with u < 0 or d < 0 |
| `rmse`, `mae` | sqrt(mean e^2), mean abs(e) |
| `smape` | 2 mean(abs(e) / (abs(d) + abs(u))), in [0, 2] |
| `eikonal` | mean abs(norm(grad u) - 1) |
| `normal_error` | 1 - mean n . grad u / norm(grad u) at points of the surface with outward normals n |

The prefix `near_` restricts a metric to points with abs(d) <= 0.1, as HotSpot (Wang et al. 2025) does.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

NEAR_DISTANCE = 0.1
"""Largest exact distance of the points that the `near_` metrics include, in the units of the distances."""


@dataclass(frozen=True)
class FieldErrors:
    """Errors of a signed distance, as defined in the module docstring."""

    iou: float
    """Intersection over union of the insides, in [0, 1]; 1 if both are empty."""
    rmse: float
    """Root mean square error."""
    mae: float
    """Mean absolute error."""
    smape: float
    """Symmetric mean absolute percentage error, as a fraction in [0, 2]."""
    near_rmse: float
    """`rmse` near the surface; NaN if no point is near, like the other `near_` metrics."""
    near_mae: float
    """`mae` near the surface."""
    near_smape: float
    """`smape` near the surface."""
    eikonal: float | None = None
    """Mean deviation of the gradient norm from 1; None if gradients are unknown."""
    near_eikonal: float | None = None
    """`eikonal` near the surface; None if gradients are unknown."""

    def as_dict(self) -> dict[str, float]:
        """Return the metrics by name, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def compare_fields(
    predicted: Float[NDArray[np.floating], " N"],
    exact: Float[NDArray[np.floating], " N"],
    gradient_norm: Float[NDArray[np.floating], " N"] | None = None,
) -> FieldErrors:
    """Compare predicted with exact signed distances.

    Args:
        predicted: Predicted distances (N,), negative inside.
        exact: Exact distances (N,) at the same points and in the same units. The distribution of the points determines
            the weights of all metrics.
        gradient_norm: Norms (N,) of the gradient of the predicted distance, if known.

    Returns:
        Errors over all points and over those near the surface.
    """
    predicted_inside, inside = predicted < 0, exact < 0
    union = int((predicted_inside | inside).sum())
    near = np.abs(exact) <= NEAR_DISTANCE
    any_near = bool(near.any())
    eikonal_error = None if gradient_norm is None else np.abs(gradient_norm - 1)
    near_eikonal = None
    if eikonal_error is not None:
        near_eikonal = float(eikonal_error[near].mean()) if any_near else np.nan
    return FieldErrors(
        float((predicted_inside & inside).sum() / union) if union else 1.0,
        *_distance_errors(predicted, exact),
        *(_distance_errors(predicted[near], exact[near]) if any_near else (np.nan, np.nan, np.nan)),
        None if eikonal_error is None else float(eikonal_error.mean()),
        near_eikonal,
    )


def normal_error(gradients: Float[NDArray[np.floating], "N 3"], normals: Float[NDArray[np.floating], "N 3"]) -> float:
    """Return the deviation of gradients from normals: 0 for exact ones, 2 for inverted ones.

    This is E_n of "Medial Axis Aware Learning of Signed Distance Functions" (2026, arXiv 2604.16512), which takes the
    triangle centers of the reference, with equal weights.

    Args:
        gradients: Gradients (N, 3) of the predicted distance at points of the surface.
        normals: Outward unit normals (N, 3) there.
    """
    lengths = np.maximum(np.linalg.norm(gradients, axis=1), 1e-12)
    return float(1 - ((gradients * normals).sum(1) / lengths).mean())


def _distance_errors(predicted: NDArray[np.floating], exact: NDArray[np.floating]) -> tuple[float, float, float]:
    """Return RMSE, MAE and SMAPE; the relative error is 0 where both distances are 0."""
    error = np.abs(predicted - exact)
    size = np.abs(predicted) + np.abs(exact)
    relative = np.divide(2 * error, size, out=np.zeros_like(error), where=size > 0)
    return float(np.sqrt(np.square(error).mean())), float(error.mean()), float(relative.mean())
