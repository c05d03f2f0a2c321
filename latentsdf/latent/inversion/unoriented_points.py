"""Orientation of a point cloud without normals.

Where a surface is convex on the scale of the k nearest neighbors, at edges and along rods, a point lies on
the outer side of their mean: with the PCA normal n and the height t = n . (x - mean), the outward direction is
sign(t) n. This also orients boards that are thin relative to the point spacing, where neighborhoods include the
opposite face. Points with |t| above a tenth of the neighborhood's radius count as protruding; the others take the sign
of their normal from the gradient of a fitted shape.

Measured on 2,000 points of 21 unseen chairs, tables, planes and bodies: two thirds protrude, and 95 % of those are
oriented correctly. (Over all points, the sign of the height is correct for 90 %, a fit alone for 79 %, and propagation
along a minimum spanning tree for 69 %.)
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.pointcloud.normals import estimate_normals
from latentsdf.latent.inversion.sdf_bounds import (
    DistanceBounds,
    concatenate,
    disc_bounds,
    distance_bounds,
    offset_samples,
)

Floats = NDArray[np.float64]

_OFFSETS = (0.01,)
_NEIGHBORS, _SUBSAMPLE = 40, 2_000  # neighbors among so few points that both faces of a board are included
_MIN_HEIGHT = 0.1  # share of the neighborhood's radius
_TANGENT, _NEARBY = 8, 24  # points of a tangent plane, selected from this many neighbors
_SAME_SIDE = 0.5  # cosine
_AGREED = 0.8  # cosine


class UnorientedPointCloud:
    """Points that cover a complete surface, without normals.

    Args:
        points: Points (N, 3) in model space.
        rng: Random numbers.
    """

    def __init__(self, points: Float[Floats, "N 3"], rng: np.random.Generator) -> None:
        self.points = points
        self._tree = cKDTree(points)
        self._nearby = self._tree.query(points, k=min(_NEARBY, len(points)))[1]
        self._outward, self._protrudes = _protruding_points(points, rng)
        self._unsigned = distance_bounds(points, None, partial=False, rng=rng)

    def bounds(self, outward: Float[NDArray[np.floating], "N 3"] | None = None) -> DistanceBounds:
        """Compute bounds on the signed distance, with signs from the protruding points and a fit.

        A tangent plane is fitted to the nearest points with similar outward directions, which separates the faces at an
        edge and of a board. Its normal is used where it agrees with the outward direction of the point up to sign, and
        is then given the sign of this direction. Exact distances at small offsets along these normals are included.

        Args:
            outward: Outward directions (N, 3) of a fit, used at points that do not protrude; None without a fit.
        """
        outward = np.where(self._protrudes[:, None], self._outward, 0 if outward is None else outward)
        other_side = (outward[self._nearby] * outward[:, None]).sum(-1) < _SAME_SIDE
        nearest = np.argsort(other_side, axis=1, kind="stable")[:, :_TANGENT]
        normals = estimate_normals(self.points, np.take_along_axis(self._nearby, nearest, 1))
        cosine = (normals * outward).sum(1)
        agreed = np.abs(cosine) > _AGREED
        normals = np.where(agreed[:, None], normals * np.sign(cosine)[:, None], 0)
        points, low, high = self._unsigned
        sign, lower = disc_bounds(self._tree, self.points, normals, points)
        unknown = (low < 0) & (high > 0)
        signed = DistanceBounds(
            points, np.where(unknown & (sign > 0), lower, low), np.where(unknown & (sign < 0), -lower, high)
        )
        return concatenate([signed, offset_samples(self._tree, self.points[agreed], normals[agreed], _OFFSETS)])


def _protruding_points(
    points: Float[Floats, "N 3"], rng: np.random.Generator
) -> tuple[Float[Floats, "N 3"], Bool[NDArray[np.bool_], " N"]]:
    """Unit directions (N, 3) in which points are offset from their neighbors, and which points protrude."""
    some = points if len(points) <= _SUBSAMPLE else points[rng.choice(len(points), _SUBSAMPLE, replace=False)]
    radius, around = cKDTree(some).query(points, k=min(_NEIGHBORS, len(some)))
    normals = estimate_normals(some, around)
    height = (normals * (points - some[around].mean(axis=1))).sum(1)
    return normals * np.sign(height)[:, None], np.abs(height) > _MIN_HEIGHT * radius[:, -1]
