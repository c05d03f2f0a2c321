"""What points on a surface say about signed distances elsewhere, in bounds that hold whatever is between the points.

A point x at distance h from the nearest observed point has |s(x)| <= h, however little of the surface is observed.
Where all of it is, gaps between points being at most `gap`, also |s(x)| >= sqrt(h^2 - gap^2) (exact for flat surface);
with normals, |s(x)| is at least the distance to the discs that the points stand for. The sign follows from normals, or
from whether x can be reached from outside without coming within `gap`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

_NORMAL_OFFSETS = (0.01, 0.03)
_LATTICE = 48  # vertices per axis on which what is outside is found
_NEAR_STDS = (0.02, 0.06)
_FEWEST_AROUND = 3000
_AGREEING = 5  # neighbours whose normals must name the same side
_GAP = 1.3  # times the distance of the sixth neighbour: how far surface can be from its nearest point
_FOOT = 0.9  # cosine between normal and offset: below it a sample may belong to surface that was not seen


class Bounds(NamedTuple):
    """Signed distances at `points` (N, 3) lie in [`low`, `high`] (N,)."""

    points: Array
    low: Array
    high: Array


def bounds(surface: Array, normals: Array | None, *, partial: bool, rng: np.random.Generator) -> Bounds:
    """Bounds on, near and far from points (N, 3) on a surface in model space, with outward unit normals or without."""
    tree = cKDTree(surface)
    parts = [Bounds(surface, np.zeros(len(surface)), np.zeros(len(surface)))]
    if normals is not None:
        parts.append(beside(tree, surface, normals))
    count = max(len(surface), _FEWEST_AROUND)
    if partial:  # of a whole, more say where there is no surface
        count //= len(_NEAR_STDS) + 1
    around = [surface[rng.integers(len(surface), size=count)] + rng.normal(0, std, (count, 3)) for std in _NEAR_STDS]
    points = np.concatenate((*around, rng.uniform(-1, 1, (count, 3)))).clip(-1, 1)
    far, nearest = tree.query(points)
    side, least = np.zeros(len(points)), np.zeros(len(points))
    if normals is not None:
        side, least = by_discs(tree, surface, normals, points)
    elif not partial:
        gap = float(np.quantile(_gaps(tree, surface), 0.9))
        side, least = _side_by_reach(tree, points, far, gap), np.sqrt(np.maximum(far**2 - gap**2, 0))
    if partial and normals is not None:
        height = ((points - surface[nearest]) * normals[nearest]).sum(1)
        side, least = np.where(np.abs(height) < _FOOT * far, 0, side), np.zeros(len(points))
    low = np.select((side > 0, side < 0), (least, -far), -far)
    high = np.select((side > 0, side < 0), (far, -least), far)
    parts.append(Bounds(points, low, high))
    return joined(parts)


def by_discs(tree: cKDTree, surface: Array, normals: Array, points: Array) -> tuple[Array, Array]:
    """Sides of points (M, 3), +1 outside and -1 inside, and how far they are from the surface at least.

    Each of the tree's points (N, 3) stands for a disc across its outward normal, as wide as gaps between points can be.
    The side is the one that the nearest of them agree on, 0 where they do not; a normal of length 0 agrees with none.
    """
    near, nearest = tree.query(points, k=_AGREEING)
    reach = _gaps(tree, surface)
    height = ((points[:, None] - surface[nearest]) * normals[nearest]).sum(-1)
    across = np.sqrt(np.maximum(near**2 - height**2, 0))
    least = np.hypot(height, np.maximum(across - reach[nearest], 0)).min(axis=1)
    return (height > 0).all(axis=1) * 1.0 - (height < 0).all(axis=1), least


def beside(tree: cKDTree, surface: Array, normals: Array, offsets: tuple[float, ...] = _NORMAL_OFFSETS) -> Bounds:
    """Exact distances a little along outward normals of some points, where no other point of the tree is nearer."""
    found = []
    for offset in (*offsets, *(-x for x in offsets)):
        points = surface + offset * normals
        kept = tree.query(points)[0] > 0.9 * abs(offset)
        distance = np.full(int(kept.sum()), offset)
        found.append(Bounds(points[kept], distance, distance))
    return joined(found)


def joined(parts: Sequence[Bounds]) -> Bounds:
    """One after the other."""
    return Bounds(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _gaps(tree: cKDTree, surface: Array) -> Array:
    """How far surface can be from each of the points (N, 3), where they are drawn at random."""
    return np.asarray(_GAP * tree.query(surface, k=7)[0][:, -1])


def _side_by_reach(tree: cKDTree, points: Array, far: Array, gap: float) -> Array:
    """+1 for points that a ball of radius `gap` reaches from the faces of the box, -1 for those it cannot."""
    axis = np.linspace(-1, 1, _LATTICE)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    free = tree.query(lattice.reshape(-1, 3), distance_upper_bound=gap)[0].reshape(lattice.shape[:3]) > gap
    region, count = label(free)
    faces = [region.take(i, axis=a) for a in range(3) for i in (0, -1)]
    reached = np.isin(np.arange(count + 1), np.concatenate([face.ravel() for face in faces]))
    i, j, k = ((points + 1) * ((_LATTICE - 1) / 2)).round().astype(int).T
    here = region[i, j, k]
    return np.where((here == 0) | (far <= gap), 0.0, np.where(reached[here], 1.0, -1.0))
