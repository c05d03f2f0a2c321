"""Whether the values of columns can be what they are taken for: normals, signed distances, or numbers of rows."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

_UNIT_TOLERANCE = 0.05
_UNIT_SHARE = 0.95
_ONE_DIRECTION = 0.99  # length of the mean of unit vectors, above which nearly all are the same
_LIPSCHITZ_POINTS = 20_000
_LIPSCHITZ_SLACK = 0.006  # noise of measured distances, relative to the diagonal of the points
_LIPSCHITZ_SHARE = 0.2
_DIRECTIONS = 200
_FLIPPED_SHARE = 0.8  # of the outermost points that are inside
_OUTSIDE_SHARE = 0.8  # of the outermost points, which are outside of most shapes


def lengths(vectors: Floats) -> Floats:
    """Return the lengths (N,) of vectors (N, d); infinite where the squares overflow."""
    with np.errstate(over="ignore"):
        return np.asarray(np.linalg.norm(vectors, axis=1))


def are_unit(vectors: Floats) -> bool:
    """Return whether nearly all vectors (N, 3) have length 1, up to the rounding of text files."""
    length = lengths(vectors)
    return bool(len(length)) and float(np.mean(np.abs(length - 1) < _UNIT_TOLERANCE)) >= _UNIT_SHARE


def normals_fault(vectors: Floats) -> str:
    """Return why vectors (N, d) are not normals; empty if they may be normals."""
    length = lengths(vectors)
    usable = vectors[np.isfinite(length) & (length > 0)]
    if not len(usable) or are_unit(usable):
        return ""
    length = lengths(usable)
    if not np.ptp(usable, axis=0).any():
        return "all are the same"
    if not are_unit(usable / np.median(length)):
        return f"their lengths range from {length.min():.3g} to {length.max():.3g}"
    # A large value that hardly changes, such as a time or a coordinate far from the origin, dominates the length.
    if lengths((usable / length[:, None]).mean(axis=0, keepdims=True))[0] > _ONE_DIRECTION:
        return f"nearly all have the same direction and the length {np.median(length):.3g}"
    return ""


def distance_fault(points: Floats, distances: Floats) -> str:
    """Return why values are not signed distances; empty if they may be.

    A signed distance has both signs, does not exceed the extent of the points, is positive at the outermost points, and
    changes no faster than its argument: |d_i - d_j| <= |x_i - x_j|.

    Args:
        points: Points (N, 3).
        distances: Values (N,).
    """
    finite = np.isfinite(points).all(axis=1) & np.isfinite(distances)
    points, distances = points[finite], distances[finite]
    if len(points) < 2:
        return ""
    step = max(1, len(points) // _LIPSCHITZ_POINTS)
    some, values = points[::step], distances[::step]
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    if not np.ptp(values):
        return "it is constant"
    length, neighbor = cKDTree(some).query(some, k=2)
    change = np.abs(values - values[neighbor[:, 1]])
    share = float(np.mean(change > length[:, 1] + _LIPSCHITZ_SLACK * extent))
    if share > _LIPSCHITZ_SHARE:
        return f"it differs between {share:.0%} of neighboring points by more than their distance"
    if np.abs(distances).max() > extent:
        return f"it reaches {np.abs(distances).max():.3g}, more than the extent of the points, {extent:.3g}"
    if distances.min() >= 0 or distances.max() <= 0:
        return f"no value is {'negative' if distances.min() >= 0 else 'positive'}"
    if float(np.mean(distances[_outermost(points)] < 0)) > _FLIPPED_SHARE:
        return "it is negative at the outermost points, as if it were positive inside; negate it"
    return ""


def is_positive_around(points: Floats, values: Floats) -> bool:
    """Return whether most of the outermost points (N, 3) have positive values (N,).

    Signed distances do, unless the shape leaves the region of the samples. Values of another meaning that scatter
    around 0, such as residuals, do not, and can be too small for `distance_fault` to tell them from distances.
    """
    finite = np.isfinite(points).all(axis=1) & np.isfinite(values)
    points, values = points[finite], values[finite]
    return bool(len(points)) and float(np.mean(values[_outermost(points)] > 0)) > _OUTSIDE_SHARE


def counts_rows(column: Floats) -> bool:
    """Return whether a column (N,) has the numbers of its rows, from any start."""
    if len(column) < 3 or not (np.abs(column) < 2**53).all():  # also false for NaN
        return False
    return bool((np.diff(column) == 1).all())


def _outermost(points: Floats) -> NDArray[np.int64]:
    """Indices of the outermost points in directions spread over the sphere."""
    directions = np.random.default_rng(0).normal(size=(_DIRECTIONS, points.shape[1]))
    return np.unique([int((points @ direction).argmax()) for direction in directions])
