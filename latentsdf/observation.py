"""What a user holds of a shape -> samples in model space that a code can be fitted to.

Meshes become signed samples near the surface and in the box. Arrays are told apart by their columns:
(N, 3) raw points, (N, 6) points with normals, (N, 4) signed distance samples. Meshes and points arrive in the user's
frame and are normalized like training shapes; signed samples must already be in model space, because their box
says nothing about the surface's. Sheets of a mesh have the thickness that a store gives them by default.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from latentsdf.config import Normalization, SamplingConfig
from latentsdf.errors import MeshError
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh import IDENTITY, Similarity
from latentsdf.geometry.sampling import band_width
from latentsdf.geometry.solid import Solid

FEWEST_POINTS = 100
NEAR = 0.05
"""Samples closer to the surface say how well a code fits it."""
_NEAR_STDS = (0.05, 0.01, 0.0025)
_NORMAL_OFFSET = 0.01


@dataclass(frozen=True)
class Observation:
    """`points` (N, 3) in model space, signed `distance` (N,), and the way back to the user's frame."""

    points: NDArray[np.float32]
    distance: NDArray[np.float32]
    similarity: Similarity


def observe(
    target: trimesh.Trimesh | Path | str | ArrayLike,
    normalization: Normalization = "sphere",
    samples: int = 30_000,
    seed: int = 0,
) -> Observation:
    """Turn a mesh, a mesh file, or an array of points or samples into an observation.

    `normalization` is the space's; meshes and points are brought to model space by it. Raises MeshError for a mesh or
    an array that cannot say where a surface is.
    """
    if isinstance(target, str | Path):
        target = meshes.load(target)
    if isinstance(target, trimesh.Trimesh):
        return _from_mesh(target, normalization, samples, seed)
    array = np.asarray(target, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] not in (3, 4, 6):
        raise MeshError(
            f"expected a mesh, points (N, 3), points with normals (N, 6) or signed samples (N, 4); got {array.shape}"
        )
    if len(array) < FEWEST_POINTS:
        raise MeshError(f"{len(array)} points say too little about a shape; at least {FEWEST_POINTS} are needed")
    if not np.isfinite(array).all():
        raise MeshError(f"{int((~np.isfinite(array)).any(1).sum())} of {len(array)} rows are not finite; drop them")
    if array.shape[1] == 4:
        return _from_signed(array)
    return _from_points(array, normalization)


def _from_mesh(mesh: trimesh.Trimesh, normalization: Normalization, samples: int, seed: int) -> Observation:
    cleaned, _ = meshes.clean(mesh)
    model_mesh, similarity = meshes.normalize(cleaned, normalization)
    rng = np.random.default_rng(seed)
    count = samples // (len(_NEAR_STDS) + 1)
    surface = np.asarray(trimesh.sample.sample_surface(model_mesh, count * len(_NEAR_STDS), seed=seed)[0])
    noise = rng.normal(size=surface.shape) * np.repeat(_NEAR_STDS, count)[:, None]
    uniform = rng.uniform(-1, 1, (count, 3))
    points = np.concatenate((np.clip(surface + noise, -1, 1), uniform))
    stored = SamplingConfig()
    distance = Solid(model_mesh, band_width(stored.resolution, stored.sheet_thickness))(points)
    return Observation(points.astype(np.float32), distance.astype(np.float32), similarity)


def _from_points(array: NDArray[np.float64], normalization: Normalization) -> Observation:
    points = array[:, :3]
    similarity = meshes.similarity_of(points, normalization)
    model_points = similarity.to_model(points)
    distance = np.zeros(len(points))
    if array.shape[1] == 6:
        normals = array[:, 3:] / np.linalg.norm(array[:, 3:], axis=1, keepdims=True).clip(1e-12)
        sides = (model_points, model_points + _NORMAL_OFFSET * normals, model_points - _NORMAL_OFFSET * normals)
        model_points = np.concatenate(sides)
        distance = np.repeat((0.0, _NORMAL_OFFSET, -_NORMAL_OFFSET), len(points))
    return Observation(model_points.astype(np.float32), distance.astype(np.float32), similarity)


def _from_signed(array: NDArray[np.float64]) -> Observation:
    points, distance = array[:, :3], array[:, 3]
    if np.abs(points).max() > 1.1:
        raise MeshError(
            f"signed samples must be in model space [-1, 1]^3, but coordinates reach {np.abs(points).max():.3g}; "
            "scale them first, or pass the mesh or points"
        )
    if np.abs(distance).min() >= NEAR:
        raise MeshError(f"no signed sample lies within {NEAR} of the surface, so they do not say where it is")
    return Observation(points.astype(np.float32), distance.astype(np.float32), IDENTITY)
