"""Bounds on the signed distance implied by points on a surface, valid for any surface between the points.

Let h(x) be the distance from x to the nearest surface point, and the gap g an estimate of the largest distance from the
surface to its nearest point:

    |s(x)| <= h(x)                             always
    |s(x)| >= sqrt(max(h(x)^2 - g^2, 0))       complete surface, no normals (exact if flat)
    |s(x)| >= min_i |(a_i, max(t_i - g_i, 0))| normals: distance to discs of radius g_i perpendicular to them, with
                                               offset a_i of x along normal i and t_i perpendicular to it

The sign (negative inside) follows from the normals if those of the nearest points agree, or without normals from a
flood fill: space that a ball of radius g reaches from the faces of the box is outside. Points are in model space, the
box [-1, 1]^3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

_NORMAL_OFFSETS = (0.01, 0.03)
_LATTICE = 48  # vertices per axis of the flood fill
_NEAR_STDS = (0.02, 0.06)
_MIN_NEAR_SAMPLES = 3000
_VOTERS = 5  # nearest points whose normals must agree on the sign
_GAP = 1.3  # times the distance to the sixth neighbor
_MIN_COSINE = 0.9  # between normal and offset: below it the nearest surface may be outside the observed part


class DistanceBounds(NamedTuple):
    """Signed distances at `points` (N, 3) are in [`low`, `high`] (N,)."""

    points: Array
    low: Array
    high: Array


def distance_bounds(
    surface: Array, normals: Array | None, *, partial: bool, rng: np.random.Generator
) -> DistanceBounds:
    """Sample points near and far from a surface, with bounds on their signed distances.

    Args:
        surface: Points (N, 3) on the surface.
        normals: Outward unit normals (N, 3), or None.
        partial: The points cover only part of the surface; regions without points are unknown, not empty.
        rng: Random numbers.

    Returns:
        Bounds at the surface points, at exact offsets along the normals where given, around the surface and in the box.
    """
    tree = cKDTree(surface)
    parts = [DistanceBounds(surface, np.zeros(len(surface)), np.zeros(len(surface)))]
    if normals is not None:
        parts.append(offset_samples(tree, surface, normals))
    count = max(len(surface), _MIN_NEAR_SAMPLES)
    if partial:  # for a complete shape, more samples exclude spurious surfaces
        count //= len(_NEAR_STDS) + 1
    near = [surface[rng.integers(len(surface), size=count)] + rng.normal(0, std, (count, 3)) for std in _NEAR_STDS]
    points = np.concatenate((*near, rng.uniform(-1, 1, (count, 3)))).clip(-1, 1)
    upper, nearest = tree.query(points)
    sign, lower = np.zeros(len(points)), np.zeros(len(points))
    if normals is not None:
        sign, lower = disc_bounds(tree, surface, normals, points)
    elif not partial:
        gap = float(np.quantile(_gaps(tree, surface), 0.9))
        sign, lower = _flood_fill_sign(tree, points, upper, gap), np.sqrt(np.maximum(upper**2 - gap**2, 0))
    if partial and normals is not None:
        height = ((points - surface[nearest]) * normals[nearest]).sum(1)
        sign, lower = np.where(np.abs(height) < _MIN_COSINE * upper, 0, sign), np.zeros(len(points))
    low = np.select((sign > 0, sign < 0), (lower, -upper), -upper)
    high = np.select((sign > 0, sign < 0), (upper, -lower), upper)
    parts.append(DistanceBounds(points, low, high))
    return concatenate(parts)


def disc_bounds(tree: cKDTree, surface: Array, normals: Array, points: Array) -> tuple[Array, Array]:
    """Compute signs and lower bounds on |s| from discs perpendicular to the normals, with the gaps as radii.

    Args:
        tree: k-d tree of the surface points.
        surface: Points (N, 3) on the surface.
        normals: Outward unit normals (N, 3), or 0 where unknown.
        points: Query points (M, 3).

    Returns:
        Signs (M,): +1 outside, -1 inside, 0 where the nearest points disagree or one has no normal; and lower
        bounds (M,) on the distance.
    """
    near, nearest = tree.query(points, k=_VOTERS)
    gap = _gaps(tree, surface)
    height = ((points[:, None] - surface[nearest]) * normals[nearest]).sum(-1)
    across = np.sqrt(np.maximum(near**2 - height**2, 0))
    lower = np.hypot(height, np.maximum(across - gap[nearest], 0)).min(axis=1)
    return (height > 0).all(axis=1) * 1.0 - (height < 0).all(axis=1), lower


def offset_samples(
    tree: cKDTree, surface: Array, normals: Array, offsets: tuple[float, ...] = _NORMAL_OFFSETS
) -> DistanceBounds:
    """Sample exact distances at small offsets along both directions of the normals, unless another point is nearer.

    Args:
        tree: Tree of all surface points.
        surface: Surface points (N, 3).
        normals: Their outward unit normals (N, 3).
        offsets: Distances from the surface, each used outside and inside.

    Returns:
        Bounds that equal the offsets, at up to 2 N points per offset.
    """
    parts = []
    for offset in (*offsets, *(-x for x in offsets)):
        points = surface + offset * normals
        kept = tree.query(points)[0] > 0.9 * abs(offset)
        distance = np.full(int(kept.sum()), offset)
        parts.append(DistanceBounds(points[kept], distance, distance))
    return concatenate(parts)


def concatenate(parts: Sequence[DistanceBounds]) -> DistanceBounds:
    """Concatenate bounds in order."""
    return DistanceBounds(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _gaps(tree: cKDTree, surface: Array) -> Array:
    """Gap g_i (N,) of each surface point: the largest distance to surface that is nearest to it, for random points."""
    return np.asarray(_GAP * tree.query(surface, k=7)[0][:, -1])


def _flood_fill_sign(tree: cKDTree, points: Array, distance: Array, gap: float) -> Array:
    """+1 for points that a ball of radius `gap` reaches from the faces of the box, -1 for others, 0 within `gap`."""
    axis = np.linspace(-1, 1, _LATTICE)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    free = tree.query(lattice.reshape(-1, 3), distance_upper_bound=gap)[0].reshape(lattice.shape[:3]) > gap
    region, count = label(free)
    faces = [region.take(i, axis=a) for a in range(3) for i in (0, -1)]
    outside = np.isin(np.arange(count + 1), np.concatenate([face.ravel() for face in faces]))
    i, j, k = ((points + 1) * ((_LATTICE - 1) / 2)).round().astype(int).T
    found = region[i, j, k]
    return np.where((found == 0) | (distance <= gap), 0.0, np.where(outside[found], 1.0, -1.0))
