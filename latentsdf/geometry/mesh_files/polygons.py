"""Triangulation of polygons with any number of corners, convex or not.

Strictly convex polygons become fans. Others lose one ear at a time: the triangle at a strictly convex corner that
contains no other corner, not even on its boundary. Corners on a straight edge therefore stay corners of triangles, and
neighbors that share them stay connected; libraries that drop such corners leave cracks.
"""

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.errors import MeshError
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_CORNERS = 50_000  # the time of ear clipping is quadratic
_STRAIGHT = 1e-9  # sine of the angle below which a corner is straight


def triangulate(vertices: Floats, corners: Ints, counts: Ints) -> Ints:
    """Split polygons into triangles with the orientation of the polygons.

    Args:
        vertices: (V, 3) positions.
        corners: (C,) indices of vertices in range, polygon after polygon.
        counts: (P,) numbers of corners; polygons with fewer than 3 have no triangles.

    Returns:
        Triangles (F, 3) in the order of the polygons.

    Raises:
        MeshError: A polygon has more than 50,000 corners.
    """
    if len(counts) and counts.max() > _MAX_CORNERS:
        raise MeshError(f"a face has {counts.max():,} corners; at most {_MAX_CORNERS:,} are supported")
    starts = np.cumsum(counts) - counts
    parts: list[Ints] = [np.empty((0, 3), dtype=np.int64)]
    owners: list[Ints] = [np.empty(0, dtype=np.int64)]
    for count in np.unique(counts[counts >= 3]):
        chosen = np.flatnonzero(counts == count)
        polygons = corners[starts[chosen, None] + np.arange(count)]
        fans = np.ones(len(chosen), dtype=np.bool_) if count == 3 else _are_convex(vertices, polygons)
        middle = np.arange(1, count - 1)
        fan = np.stack([np.zeros_like(middle), middle, middle + 1], axis=1)
        parts.append(polygons[fans][:, fan].reshape(-1, 3))
        owners.append(np.repeat(chosen[fans], count - 2))
        for owner, polygon in zip(chosen[~fans], polygons[~fans], strict=True):
            parts.append(_clip(vertices, polygon))
            owners.append(np.full(len(parts[-1]), owner))
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(parts)[order]


def _are_convex(vertices: Floats, polygons: Ints) -> NDArray[np.bool_]:
    """True (P,) for polygons (P, k) whose corners all turn to the same side, once around."""
    with np.errstate(all="ignore"):
        edge = np.roll(vertices[polygons], -1, axis=1) - vertices[polygons]
        before = np.roll(edge, 1, axis=1)
        normal = _newell(vertices[polygons])
        sine = np.einsum("pkx,px->pk", np.cross(before, edge), normal)
        cosine = np.einsum("pkx,pkx->pk", before, edge)
        size = np.linalg.norm(before, axis=2) * np.linalg.norm(edge, axis=2)
        turning = np.arctan2(sine, cosine).sum(axis=1)
        convex: NDArray[np.bool_] = (sine > 1e3 * _STRAIGHT * size).all(axis=1) & (turning < 3 * np.pi)
    return convex


def _newell(corners: Floats) -> Floats:
    """Unit normals (P, 3) of polygons (P, k, 3), planar or not."""
    centered = corners - corners.mean(axis=1, keepdims=True)
    normal = np.cross(centered, np.roll(centered, -1, axis=1)).sum(axis=1)
    unit: Floats = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return unit


def _clip(vertices: Floats, polygon: Ints) -> Ints:
    """Triangles of one polygon (k,), in the plane that fits it best."""
    polygon = polygon[polygon != np.roll(polygon, 1)]
    if len(polygon) < 3:
        return np.empty((0, 3), dtype=np.int64)
    corners = vertices[polygon]
    with np.errstate(all="ignore"):
        normal = _newell(corners[None])[0]
    if not np.isfinite(normal).all():  # no area, or coordinates that are not finite; cleaning removes the triangles
        middle = np.arange(1, len(polygon) - 1)
        return np.stack([np.full_like(middle, polygon[0]), polygon[middle], polygon[middle + 1]], axis=1)
    first = np.zeros(3)
    first[np.argmin(np.abs(normal))] = 1
    first -= normal * (normal @ first)
    first /= np.linalg.norm(first)
    plane = np.stack([first, np.cross(normal, first)], axis=1)
    flat = (corners - corners.mean(axis=0)) @ plane
    return polygon[_clip_ears(flat / np.abs(flat).max())]


@compiled(nogil=True)
def _clip_ears(points: Floats) -> Ints:
    """Triangles (k - 2, 3) of a counter-clockwise polygon (k, 2).

    Round by round: at first only ears that no other corner touches, then also touched ones (polygons that touch
    themselves), then any convex corner, then any corner (polygons that cross themselves, or have no area left).
    """
    count = len(points)
    following = np.arange(1, count + 1) % count
    preceding = np.arange(-1, count - 1) % count
    triangles = np.empty((count - 2, 3), dtype=np.int64)
    found, at, tried, level = 0, 0, 0, 0
    while found < count - 2:
        before, after = preceding[at], following[at]
        if _is_ear(points, following, before, at, after, level):
            triangles[found, 0], triangles[found, 1], triangles[found, 2] = before, at, after
            found += 1
            following[before], preceding[after] = after, before
            # Going on behind the next corner spreads the ears around, which avoids slivers from a single corner.
            at, tried, level = following[after], 0, 0
        else:
            at, tried = after, tried + 1
            if tried > count - found:
                tried, level = 0, level + 1
    return triangles


@compiled(nogil=True)
def _is_ear(points: Floats, following: Ints, before: int, at: int, after: int, level: int) -> bool:
    if level >= 3:
        return True
    a, b, c = points[before], points[at], points[after]
    scale = np.sqrt(((b - a) ** 2).sum() * ((c - b) ** 2).sum())
    if not _cross(a, b, c) > 1e-9 * scale:
        return False
    if level == 2:
        return True
    slack = 1e-12 if level == 0 else -1e-12
    other = following[after]
    while other != before:
        p = points[other]
        same = (p == a).all() or (p == b).all() or (p == c).all()
        if not same and min(_cross(a, b, p), _cross(b, c, p), _cross(c, a, p)) >= -slack:
            return False
        other = following[other]
    return True


@compiled(nogil=True)
def _cross(a: Floats, b: Floats, c: Floats) -> float:
    """Twice the signed area of a triangle in the plane."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
