"""Accuracy of a 2D reconstruction, relative to exact signed distances of the curve."""

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
from latentsdf.utils.numpy_files import parse_npz

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlanarTruth:
    """Exact signed distances on a square lattice, negative inside, in the user's frame."""

    axis: Float[Floats, " R"]
    """Increasing coordinates of the lattice, the same for x and y."""
    distance: Float[Floats, "R R"]
    """Signed distances, indexed [x, y]."""
    curve: Float[Floats, "N 2"]
    """Points of the curve."""

    @property
    def lattice(self) -> Float[Floats, "M 2"]:
        """Lattice points in the order of `distance.ravel()`."""
        return np.stack(np.meshgrid(self.axis, self.axis, indexing="ij"), axis=-1).reshape(-1, 2)


@dataclass(frozen=True)
class PlanarAccuracy:
    """Errors of a 2D reconstruction in units of the user's frame."""

    field: FieldErrors
    """Errors of the signed distance on the lattice."""
    curve: NearestDistances
    """Distances between vertices of the zero level set and points of the curve."""
    floor: NearestDistances
    """The same distances for the zero level set of the exact distances, with equally dense vertices: the sampling
    floor."""

    def as_dict(self) -> dict[str, Any]:
        """Return the errors as nested dictionaries of numbers."""
        floors = {f"floor_{name}": value for name, value in self.floor.as_dict().items()}
        return {"field": self.field.as_dict(), "curve": self.curve.as_dict() | floors}


def load_truth(path: Path | str) -> PlanarTruth:
    """Read exact distances.

    Args:
        path: File .npz with `sdf_grid` (R, R) indexed [y, x], `grid_axis` (R,) and `surface_points` (N, 2).

    Returns:
        The ground truth.

    Raises:
        FileNotFoundError: The file does not exist.
        MeshError: An array is missing, has another shape or is not finite, or the distances do not change sign.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of exact distances")
    names = ("grid_axis", "sdf_grid", "surface_points")
    try:
        arrays = parse_npz(path, names)
        axis, grid, curve = (np.asarray(arrays[name], dtype=np.float64) for name in names)
    except (ValueError, TypeError) as error:
        raise MeshError(
            f"{path.name}: the ground truth of planar points must be an .npz with {', '.join(names)} ({error!r:.120})"
        ) from error
    if axis.ndim != 1 or len(axis) < 2 or grid.shape != 2 * axis.shape or curve.ndim != 2 or curve.shape[1] != 2:
        raise MeshError(
            f"{path.name}: expected grid_axis (R,), sdf_grid (R, R) and surface_points (N, 2), got {axis.shape}, "
            f"{grid.shape} and {curve.shape}"
        )
    if not all(np.isfinite(array).all() for array in (axis, grid, curve)) or not (np.diff(axis) > 0).all():
        raise MeshError(f"{path.name}: all values must be finite and grid_axis must be increasing")
    if not (grid < 0).any() or not (grid > 0).any() or not len(curve):
        raise MeshError(f"{path.name}: sdf_grid needs an inside and an outside, and surface_points a point")
    return PlanarTruth(axis, grid.T, curve)


def measure_planar(reconstruction: Reconstruction, truth: PlanarTruth) -> PlanarAccuracy:
    """Compare a 2D field and its zero level set with exact distances.

    Args:
        reconstruction: The field.
        truth: Exact distances in the user's frame.

    Returns:
        Errors in the user's unit.

    Raises:
        EmptyLevelSetError: The field has no zero level set.
    """
    field_errors = compare_fields(reconstruction.distance(truth.lattice), truth.distance.ravel())
    contours = reconstruction.contours()
    spacing = float(np.median(np.concatenate([_segment_lengths(line) for line in contours])))
    rows = np.arange(len(truth.axis))
    exact = [np.interp(line, rows, truth.axis) for line in find_contours(truth.distance, 0.0)]
    exact = [_resample(line, spacing) for line in exact]
    return PlanarAccuracy(
        field_errors, _distances_to_curve(contours, truth.curve), _distances_to_curve(exact, truth.curve)
    )


def _segment_lengths(line: Float[Floats, "K 2"]) -> Float[Floats, " K-1"]:
    return np.asarray(np.linalg.norm(np.diff(line, axis=0), axis=1))


def _resample(line: Float[Floats, "K 2"], spacing: float) -> Float[Floats, "L 2"]:
    """Place vertices at equal arc lengths of about `spacing`."""
    arc_length = np.concatenate(([0.0], np.cumsum(_segment_lengths(line))))
    positions = np.linspace(0, arc_length[-1], max(2, round(arc_length[-1] / spacing) + 1))
    return np.stack([np.interp(positions, arc_length, line[:, axis]) for axis in range(2)], axis=1)


def _distances_to_curve(lines: list[Floats], curve: Float[Floats, "N 2"]) -> NearestDistances:
    vertices = np.concatenate(lines)
    return nearest_distances(cKDTree(curve).query(vertices)[0], cKDTree(vertices).query(curve)[0])
