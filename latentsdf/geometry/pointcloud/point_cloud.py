"""Validation of raw 2D and 3D point clouds and their normalization to model space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsdf.config.sampling import Normalization
from latentsdf.geometry.mesh import require_coordinate_precision
from latentsdf.geometry.similarity import Similarity, compute_normalization
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]

MIN_POINTS = 100
"""Smallest number of distinct points that is accepted as a shape."""
COLUMN_MEANINGS = {2: "points in the plane", 3: "points", 4: "signed samples", 6: "points with normals"}
"""Meaning of the rows of a table by the number of its columns."""
_MIN_DISTINCT_SHARE = 0.5
_MIN_WIDTH = 1e-4  # relative to the length; narrower clouds are indistinguishable from a line


@dataclass(frozen=True)
class PointCloud:
    """Point cloud in model space."""

    points: Floats
    """Points (N, d) in model space."""
    normals: Floats | None
    """Unit normals (N, d), None if the user passed none."""
    similarity: Similarity
    """Transform from the user's frame to model space."""

    @property
    def dim(self) -> int:
        """Dimension d of the points, 2 or 3."""
        return int(self.points.shape[1])


def prepare_point_cloud(
    points: ArrayLike, normals: ArrayLike | None = None, normalization: Normalization = "sphere"
) -> PointCloud:
    """Validate a point cloud, drop exact copies of points, and transform it to model space.

    Args:
        points: Points (N, 2) or (N, 3), or points with normals (N, 6), in the user's frame.
        normals: Normals (N, d) of nonzero length; not with points (N, 6).
        normalization: See `latentsdf.geometry.similarity.compute_normalization`.

    Returns:
        Distinct points in their original order, with normals of unit length.

    Raises:
        MeshError: If an array has another shape or type, or `require_usable_points` rejects the points or normals.
    """
    table, given_normals = as_table("", points), None
    if table.shape[1] == 4:
        raise MeshError(f"signed samples, shape {table.shape}, are for `invert`; pass their surface points (N, 3)")
    require_usable_points("", table)
    if normals is not None and table.shape[1] == 6:
        raise MeshError("points (N, 6) already include normals; pass either these, or points (N, 3) and normals")
    if normals is not None:
        given_normals = as_table("normals", normals)
        if given_normals.shape != table.shape:
            raise MeshError(f"normals must have the shape of the points, {table.shape}, got {given_normals.shape}")
        _require_usable_normals("", given_normals)
    elif table.shape[1] == 6:
        table, given_normals = table[:, :3], table[:, 3:]
    first = np.sort(np.unique(table, axis=0, return_index=True)[1])
    table = table[first]
    similarity = compute_normalization(table, normalization)
    unit_normals = None
    if given_normals is not None:
        unit_normals = given_normals[first] / np.linalg.norm(given_normals[first], axis=1, keepdims=True)
    return PointCloud(similarity.to_model(table), unit_normals, similarity)


def as_table(name: str, values: ArrayLike) -> Floats:
    """Convert values to a two-dimensional array of float64.

    Args:
        name: Name of the values, with which the error message starts; may be empty.
        values: Array-like (N, C) of real numbers.

    Returns:
        Table (N, C), a copy.

    Raises:
        MeshError: If the rows differ in length, the values are not real numbers or the array is not two-dimensional.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise MeshError(f"{_prefix(name)}rows differ in length, so the values are not a table of points") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise MeshError(
            f"{_prefix(name)}expected a table of real numbers, one point per row, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array.astype(np.float64)


def require_usable_points(name: str, table: Floats) -> None:
    """Raise an error for a table that does not sample a surface or a planar curve.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        table: Table (N, C); see `COLUMN_MEANINGS`.

    Raises:
        MeshError: If the number of columns is unknown, values are not finite, fewer than 100 points or less than half
            of the points are distinct, all points lie on a line, `require_coordinate_precision` rejects the points, or
            normals have length 0.
    """
    if table.shape[1] not in COLUMN_MEANINGS:
        known = ", ".join(f"(N, {columns}) {meaning}" for columns, meaning in COLUMN_MEANINGS.items())
        raise MeshError(f"{_prefix(name)}expected {known}; got shape {table.shape}")
    nonfinite = int((~np.isfinite(table)).any(axis=1).sum())
    if nonfinite:
        raise MeshError(f"{_prefix(name)}{nonfinite:,} of {len(table):,} points are not finite numbers; remove them")
    if len(table) < MIN_POINTS:
        raise MeshError(f"{_prefix(name)}{len(table)} points are too few for a shape; at least {MIN_POINTS} are needed")
    points = table[:, :3]
    distinct = len(np.unique(points, axis=0))
    if distinct < MIN_POINTS or distinct < _MIN_DISTINCT_SHARE * len(points):
        raise MeshError(
            f"{_prefix(name)}only {distinct:,} of {len(points):,} points are different; coincident points do not "
            "sample a surface. Remove the copies, or check whether the coordinates were rounded too coarsely"
        )
    require_coordinate_precision(name or "points", points)
    # Scaled to unit extent so that the squares neither underflow nor overflow.
    unit = (points - points.mean(0)) / np.ptp(points, axis=0).max()
    *_, second, largest = np.linalg.eigvalsh(unit.T @ unit)
    if second < _MIN_WIDTH**2 * largest:
        raise MeshError(f"{_prefix(name)}all points lie on a line, so there is no surface through them")
    if table.shape[1] == 6:
        _require_usable_normals(name, table[:, 3:])


def _require_usable_normals(name: str, normals: Floats) -> None:
    length = np.linalg.norm(normals, axis=1)
    unusable = int((~np.isfinite(length) | (length == 0)).sum())
    if unusable:
        raise MeshError(
            f"{_prefix(name)}{unusable:,} of {len(normals):,} normals are not finite or have length 0; remove these "
            "points, or pass no normals"
        )


def _prefix(name: str) -> str:
    return f"{name}: " if name else ""
