"""Repair of common faults of point clouds: stray points far from the shape, and normals that all point inward."""

from dataclasses import replace

import numpy as np

from latentsdf.geometry.pointcloud.point_table import Floats, PointTable

_MAX_STRAY_SHARE = 0.01
_MIN_GAP = 2.0  # of the radius that holds all but 1 % of the points
_DIRECTIONS = 200
_INWARD = -0.3  # mean cosine between normals and directions at the outermost points; 1 for a sphere, 0 for a plane


def repair(table: PointTable) -> tuple[PointTable, list[str]]:
    """Leave out stray points, and turn normals that point inward.

    Args:
        table: Points of a surface; signed samples are returned unchanged.

    Returns:
        The repaired points, and a sentence for each repair.
    """
    notes: list[str] = []
    if table.distances is not None or len(table.points) < 2 or not np.isfinite(table.points).all():
        return table, notes
    stray, reach = _stray_points(table.points)
    if stray.any():
        first = ", ".join(f"{x:.6g}" for x in table.points[stray][0])
        notes.append(
            f"{stray.sum():,} of {len(stray):,} points lie far from the others, such as ({first}), and are left out; "
            f"the others are within {reach:.3g} of their center"
        )
        table = PointTable(table.points[~stray], None if table.normals is None else table.normals[~stray])
    if table.normals is not None and _point_inward(table.points, table.normals):
        notes.append("the normals point inward; they are turned")
        table = replace(table, normals=-table.normals)
    return table, notes


def _stray_points(points: Floats) -> tuple[np.ndarray, float]:
    """True (N,) for at most 1 % of the points, behind a gap that is wide compared with the others, and their radius.

    The gap distinguishes stray points from thin parts, such as an antenna, whose points form a chain.
    """
    radius = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    ordered = np.sort(radius)
    first = int(np.ceil((1 - _MAX_STRAY_SHARE) * len(points))) - 1
    reach = float(ordered[first])
    gaps = np.flatnonzero(np.diff(ordered[first:]) > _MIN_GAP * reach)
    if not len(gaps) or not reach > 0:
        return np.zeros(len(points), dtype=np.bool_), reach
    return radius > ordered[first + gaps[0]], float(ordered[first + gaps[0]])


def _point_inward(points: Floats, normals: Floats) -> bool:
    """Whether the normals of the outermost points, in directions spread over the sphere, point to the middle."""
    directions = np.random.default_rng(0).normal(size=(_DIRECTIONS, points.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    outermost = np.array([int((points @ direction).argmax()) for direction in directions])
    with np.errstate(all="ignore"):
        unit = normals[outermost] / np.linalg.norm(normals[outermost], axis=1, keepdims=True)
        cosine = (unit * directions).sum(axis=1)
    cosine = cosine[np.isfinite(cosine)]
    return bool(len(cosine)) and float(cosine.mean()) < _INWARD
