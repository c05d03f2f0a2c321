"""A planar reconstruction beside the exact distances of its curve."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from latentsdf.geometry.metrics.field import FieldErrors, compare_fields
from latentsdf.geometry.metrics.surface import NearestDistances, nearest_distances
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlanarTruth:
    """Exact signed distances on a square lattice, negative inside, and points of the curve, in the user's frame."""

    axis: Float[Floats, " R"]
    """Rising coordinates of the lattice, of x and y alike."""
    distance: Float[Floats, "R R"]
    """At [x, y]."""
    curve: Float[Floats, "N 2"]

    @property
    def lattice(self) -> Float[Floats, "M 2"]:
        """The points of the lattice in the order of `distance.ravel()`."""
        return np.stack(np.meshgrid(self.axis, self.axis, indexing="ij"), axis=-1).reshape(-1, 2)


@dataclass(frozen=True)
class PlanarAccuracy:
    """In the units of the user's frame: `field` on the lattice, `curve` from vertices of the zero set to the curve's
    points and back, `floor` that of the exact distances' own zero set with vertices as dense."""

    field: FieldErrors
    curve: NearestDistances
    floor: NearestDistances

    def as_dict(self) -> dict[str, Any]:
        """Name -> figures by name."""
        floors = {f"floor_{name}": value for name, value in self.floor.as_dict().items()}
        return {"field": self.field.as_dict(), "curve": self.curve.as_dict() | floors}


def load_truth(path: Path | str) -> PlanarTruth:
    """Read an .npz with `sdf_grid` (R, R) at [y, x], `grid_axis` (R,) and `surface_points` (N, 2).

    Raises FileNotFoundError, or MeshError for arrays that are missing, of other shapes or not finite, and distances
    that do not change sign.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of exact distances")
    names = ("grid_axis", "sdf_grid", "surface_points")
    try:
        with np.load(path) as file:
            axis, grid, curve = (np.asarray(file[name], dtype=np.float64) for name in names)
    # NumPy raises whatever it stumbles over, and gives back no archive for an .npy.
    except Exception as error:
        raise MeshError(
            f"{path.name}: the truth of planar points is an .npz with {', '.join(names)} ({error!r:.120})"
        ) from error
    if axis.ndim != 1 or len(axis) < 2 or grid.shape != 2 * axis.shape or curve.ndim != 2 or curve.shape[1] != 2:
        raise MeshError(
            f"{path.name}: expected grid_axis (R,), sdf_grid (R, R) and surface_points (N, 2), got {axis.shape}, "
            f"{grid.shape} and {curve.shape}"
        )
    if not all(np.isfinite(array).all() for array in (axis, grid, curve)) or not (np.diff(axis) > 0).all():
        raise MeshError(f"{path.name}: all values must be finite and grid_axis must rise")
    if not (grid < 0).any() or not (grid > 0).any() or not len(curve):
        raise MeshError(f"{path.name}: sdf_grid needs an inside and an outside, and surface_points a point")
    return PlanarTruth(axis, grid.T, curve)


def measure_planar(reconstruction: Reconstruction, truth: PlanarTruth) -> PlanarAccuracy:
    """Compare a field of the plane with exact distances; raises EmptyLevelSetError where the field has no zero."""
    errors = compare_fields(reconstruction.distance(truth.lattice), truth.distance.ravel())
    found = reconstruction.contours()
    spacing = float(np.median(np.concatenate([_lengths(line) for line in found])))
    steps = np.arange(len(truth.axis))
    exact = [np.interp(line, steps, truth.axis) for line in find_contours(truth.distance, 0.0)]
    denser = [_resampled(line, spacing) for line in exact]
    return PlanarAccuracy(errors, _apart(found, truth.curve), _apart(denser, truth.curve))


def _lengths(line: Floats) -> Floats:
    return np.asarray(np.linalg.norm(np.diff(line, axis=0), axis=1))


def _resampled(line: Floats, spacing: float) -> Floats:
    along = np.concatenate(([0.0], np.cumsum(_lengths(line))))
    at = np.linspace(0, along[-1], max(2, round(along[-1] / spacing) + 1))
    return np.stack([np.interp(at, along, line[:, axis]) for axis in range(2)], axis=1)


def _apart(lines: list[Floats], curve: Floats) -> NearestDistances:
    contour = np.concatenate(lines)
    return nearest_distances(cKDTree(curve).query(contour)[0], cKDTree(contour).query(curve)[0])
