"""Validation of raw 2D and 3D point clouds and their normalization to model space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsdf.config.sampling import Normalization
from latentsdf.geometry.mesh import require_coordinate_precision
from latentsdf.geometry.pointcloud.column_values import lengths
from latentsdf.geometry.pointcloud.point_table import PointTable, point_table, prefix
from latentsdf.geometry.pointcloud.repair import repair
from latentsdf.geometry.similarity import Similarity, compute_normalization
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]

MIN_POINTS = 100
"""Smallest number of distinct points that is accepted as a shape."""
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
    points: PointTable | ArrayLike, normals: ArrayLike | None = None, normalization: Normalization = "sphere"
) -> PointCloud:
    """Validate a point cloud, drop exact copies of points, and transform it to model space.

    Args:
        points: Points (N, 2) or (N, 3), or points with normals (N, 6), in the user's frame.
        normals: Normals (N, d) of nonzero length; not with points (N, 6).
        normalization: See `latentsdf.geometry.similarity.compute_normalization`.

    Returns:
        Distinct points in their original order, with normals of unit length. `repair` has mended them, with notes.

    Raises:
        MeshError: An array has another shape or type, or `require_usable_points` rejects the points or normals.
    """
    table = points if isinstance(points, PointTable) else point_table("", points, normals)
    if table.distances is not None:
        raise MeshError(
            f"signed samples, shape ({len(table.points)}, 4), are for `invert`; pass their surface points (N, 3), or "
            "planar points and their normals separately"
        )
    require_usable_points("", table)
    table, notes = repair(table)
    for note in notes:
        show_note("points", note)
    require_usable_points("", table)
    first = np.sort(np.unique(table.points, axis=0, return_index=True)[1])
    distinct = table.points[first]
    similarity = compute_normalization(distinct, normalization)
    unit_normals = None
    if table.normals is not None:
        unit_normals = table.normals[first] / np.linalg.norm(table.normals[first], axis=1, keepdims=True)
    return PointCloud(similarity.to_model(distinct), unit_normals, similarity)


def require_usable_points(name: str, table: PointTable) -> None:
    """Raise an error for a table that does not sample a surface or a planar curve.

    Args:
        name: Name of the table, with which the error message starts; may be empty.
        table: The points, with their normals or distances.

    Raises:
        MeshError: Values are not finite, fewer than 100 points or less than half of the points are distinct, all
            points lie on a line, `require_coordinate_precision` rejects the points, or normals have length 0.
    """
    points = table.points
    finite = np.isfinite(points).all(axis=1)
    if table.distances is not None:
        finite &= np.isfinite(table.distances)
    nonfinite = int((~finite).sum())
    if nonfinite:
        raise MeshError(f"{prefix(name)}{nonfinite:,} of {len(points):,} points are not finite numbers; remove them")
    if len(points) < MIN_POINTS:
        raise MeshError(f"{prefix(name)}{len(points)} points are too few for a shape; at least {MIN_POINTS} are needed")
    distinct = len(np.unique(points, axis=0))
    if distinct < MIN_POINTS or distinct < _MIN_DISTINCT_SHARE * len(points):
        raise MeshError(
            f"{prefix(name)}only {distinct:,} of {len(points):,} points are different; coincident points do not "
            "sample a surface. Remove the copies, or check whether the coordinates were rounded too coarsely"
        )
    require_coordinate_precision(name or "points", points)
    # Scaled to unit extent so that the squares neither underflow nor overflow.
    unit = (points - points.mean(0)) / np.ptp(points, axis=0).max()
    *_, second, largest = np.linalg.eigvalsh(unit.T @ unit)
    if second < _MIN_WIDTH**2 * largest:
        raise MeshError(f"{prefix(name)}all points lie on a line, so there is no surface through them")
    if table.normals is not None:
        _require_usable_normals(name, table.normals)


def _require_usable_normals(name: str, normals: Floats) -> None:
    length = lengths(normals)
    unusable = int((~np.isfinite(length) | (length == 0)).sum())
    if unusable:
        raise MeshError(
            f"{prefix(name)}{unusable:,} of {len(normals):,} normals are not finite or have length 0; remove these "
            "points, or pass no normals"
        )
