"""Raw point clouds in 2D and 3D: are they usable, where are they, what does each point stand for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from latentsdf.errors import MeshError
from latentsdf.geometry.mesh import Similarity, similarity_of

Floats = NDArray[np.float64]

FEWEST_POINTS = 100
_MOST_COPIES = 0.5


@dataclass(frozen=True)
class Cloud:
    """`points` (N, d) in model space, unit `normals` (N, d) where the user gave them, and the way back."""

    points: Floats
    normals: Floats | None
    similarity: Similarity

    @property
    def dim(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])


def read_cloud(points: ArrayLike, normals: ArrayLike | None = None) -> Cloud:
    """Check points (N, 2|3) and bring them to model space: box centre to the origin, farthest at radius 1/1.03.

    (N, 6) is taken as points and normals. Exact copies are dropped. Raises MeshError for other shapes, fewer than 100
    different points, values that are not finite, points that mostly coincide, normals of length 0.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == 6 and normals is None:
        array, normals = array[:, :3], array[:, 3:]
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        signed = array.ndim == 2 and array.shape[1] == 4
        hint = "; signed samples (N, 4) are for `invert`, pass their surface points" if signed else ""
        raise MeshError(f"expected points (N, 2) or (N, 3), or (N, 6) with normals, got shape {array.shape}{hint}")
    broken = int((~np.isfinite(array)).any(axis=1).sum())
    if broken:
        raise MeshError(f"{broken} of {len(array)} points are not finite numbers; drop them")
    if len(array) < FEWEST_POINTS:
        raise MeshError(f"{len(array)} points say too little about a shape; at least {FEWEST_POINTS} are needed")
    distinct, first = np.unique(array, axis=0, return_index=True)
    if len(distinct) < FEWEST_POINTS or len(distinct) < _MOST_COPIES * len(array):
        raise MeshError(
            f"only {len(distinct)} of {len(array)} points are different; points that coincide have no surface between "
            "them. Remove the copies, or check the units they were rounded in"
        )
    kept = np.sort(first)
    similarity = similarity_of(array[kept])
    return Cloud(similarity.to_model(array[kept]), _unit(normals, array.shape, kept), similarity)


def _unit(normals: ArrayLike | None, shape: tuple[int, ...], kept: NDArray[np.int64]) -> Floats | None:
    if normals is None:
        return None
    array = np.asarray(normals, dtype=np.float64)
    if array.shape != shape:
        raise MeshError(f"normals must have the shape of the points, {shape}, got {array.shape}")
    length = np.linalg.norm(array[kept], axis=1, keepdims=True)
    if not np.isfinite(array[kept]).all() or (length == 0).any():
        raise MeshError("some normals are not finite or have length 0; drop those points, or pass no normals")
    return np.asarray(array[kept] / length)


def spacing(points: Floats) -> float:
    """Median distance of a point to its nearest neighbour."""
    return float(np.median(cKDTree(points).query(points, k=2)[0][:, 1]))
