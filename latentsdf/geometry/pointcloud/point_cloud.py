"""Raw point clouds in 2D and 3D: what is refused, said in one place, and the way to model space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsdf.config.sampling import Normalization
from latentsdf.geometry.mesh import require_coordinate_precision
from latentsdf.geometry.similarity import Similarity, compute_normalization
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]

MIN_POINTS = 100
COLUMNS = {2: "points in the plane", 3: "points", 4: "signed samples", 6: "points with normals"}
"""What a row of a table is, by its length."""
_MOST_COPIES = 0.5
_THINNEST = 1e-4  # of its length: what is thinner than this is a line at any resolution


@dataclass(frozen=True)
class PointCloud:
    """`points` (N, d) in model space, unit `normals` (N, d) where the user gave them, and the way back."""

    points: Floats
    normals: Floats | None
    similarity: Similarity

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])


def prepare_point_cloud(
    points: ArrayLike, normals: ArrayLike | None = None, normalization: Normalization = "sphere"
) -> PointCloud:
    """Check points (N, 2|3), drop exact copies, and bring them to model space; see `compute_normalization`.

    (N, 6) is taken as points and normals. Raises MeshError for other shapes, for what `require_usable_points` refuses, and
    for normals that have not the shape of the points.
    """
    table, given = as_table("", points), None
    if table.shape[1] == 4:
        raise MeshError(f"signed samples, shape {table.shape}, are for `invert`; pass their surface points (N, 3)")
    require_usable_points("", table)
    if normals is not None and table.shape[1] == 6:
        raise MeshError("points (N, 6) bring normals of their own; pass either these, or points (N, 3) and normals")
    if normals is not None:
        given = as_table("normals", normals)
        if given.shape != table.shape:
            raise MeshError(f"normals must have the shape of the points, {table.shape}, got {given.shape}")
        _require_directions("", given)
    elif table.shape[1] == 6:
        table, given = table[:, :3], table[:, 3:]
    first = np.sort(np.unique(table, axis=0, return_index=True)[1])
    table = table[first]
    similarity = compute_normalization(table, normalization)
    unit = None if given is None else given[first] / np.linalg.norm(given[first], axis=1, keepdims=True)
    return PointCloud(similarity.to_model(table), unit, similarity)


def as_table(name: str, values: ArrayLike) -> Floats:
    """Values as a table (N, C) of float64; MeshError, starting with `name`, for what has other axes or no numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise MeshError(f"{_of(name)}rows differ in length, so they are no table of points") from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise MeshError(
            f"{_of(name)}expected a table of real numbers, one point a row, got shape {array.shape} of {array.dtype}"
        )
    return array.astype(np.float64)


def require_usable_points(name: str, table: Floats) -> None:
    """Raise MeshError, starting with `name`, for a table (N, C) that cannot say where a surface is.

    Refused are columns that are not among `COLUMNS`, values that are not finite, fewer than 100 points, points that
    mostly coincide or lie on a line, coordinates without digits for a shape, and normals of length 0.
    """
    if table.shape[1] not in COLUMNS:
        known = ", ".join(f"(N, {columns}) {what}" for columns, what in COLUMNS.items())
        raise MeshError(f"{_of(name)}expected {known}; got shape {table.shape}")
    broken = int((~np.isfinite(table)).any(axis=1).sum())
    if broken:
        raise MeshError(f"{_of(name)}{broken:,} of {len(table):,} points are not finite numbers; drop them")
    if len(table) < MIN_POINTS:
        raise MeshError(
            f"{_of(name)}{len(table)} points say too little about a shape; at least {MIN_POINTS} are needed"
        )
    points = table[:, :3]
    distinct = len(np.unique(points, axis=0))
    if distinct < MIN_POINTS or distinct < _MOST_COPIES * len(points):
        raise MeshError(
            f"{_of(name)}only {distinct:,} of {len(points):,} points are different; points that coincide have no "
            "surface between them. Remove the copies, or check the units they were rounded in"
        )
    require_coordinate_precision(name or "points", points)
    # Of unit extent, so that squares neither vanish nor overflow.
    unit = (points - points.mean(0)) / np.ptp(points, axis=0).max()
    *_, second, largest = np.linalg.eigvalsh(unit.T @ unit)
    if second < _THINNEST**2 * largest:
        raise MeshError(f"{_of(name)}all points lie on a line, so there is no surface through them")
    if table.shape[1] == 6:
        _require_directions(name, table[:, 3:])


def _require_directions(name: str, normals: Floats) -> None:
    """Raise MeshError, starting with `name`, for normals that are not finite or have no length."""
    length = np.linalg.norm(normals, axis=1)
    bad = int((~np.isfinite(length) | (length == 0)).sum())
    if bad:
        raise MeshError(
            f"{_of(name)}{bad:,} of {len(normals):,} normals are not finite or have length 0; drop those points, or "
            "leave all normals out"
        )


def _of(name: str) -> str:
    return f"{name}: " if name else ""
