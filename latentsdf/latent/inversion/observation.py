"""What a user holds of a shape -> bounds on signed distances in model space that a code can be fitted to.

Meshes become signed samples near the surface and in the box. Tables are told apart by their columns:
(N, 3) raw points, (N, 6) points with normals, (N, 4) signed distance samples. Meshes and points arrive in the user's
frame and are normalized like training shapes, or in model space; signed samples must be in model space, because their
box says nothing about the surface's. A part of a shape is taken as points, with normals where it is a mesh.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from latentsdf.config.inversion import Frame
from latentsdf.config.sampling import Normalization, SamplingConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.pointcloud.io import load_mesh_or_points
from latentsdf.geometry.pointcloud.point_cloud import as_table, prepare_point_cloud, require_usable_points
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.latent.inversion.sdf_bounds import Bounds, bounds
from latentsdf.latent.inversion.unoriented_points import UnorientedPointCloud
from latentsdf.utils.errors import MeshError

NEAR = 0.05
"""Samples closer to the surface say how well a code fits it."""
_NEAR_STDS = (0.05, 0.01, 0.0025)
_MOST_POINTS = 20_000
_FARTHEST = 1.1


@dataclass(frozen=True)
class Observation:
    """Signed distances at `points` (N, 3) in model space lie in [`low`, `high`] (N,), equal where they are known.

    `similarity` is the way from the user's frame to model space. Of a whole surface whose normals nobody gave, `cloud`
    is what `orient_observation` says more of, once a fit tells its sides.
    """

    points: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    similarity: Similarity
    cloud: UnorientedPointCloud | None = None

    @property
    def near(self) -> NDArray[np.bool_]:
        """Samples that are known to be close to the surface."""
        return np.maximum(np.abs(self.low), np.abs(self.high)) < NEAR


def orient_observation(observation: Observation, outward: NDArray[np.float32]) -> Observation:
    """What the points of the observation's cloud say, with the outward direction (M, 3) that a fit has at each."""
    assert observation.cloud is not None
    return _unsided(observation.cloud, observation.similarity, outward)


def observe(
    target: trimesh.Trimesh | Path | str | ArrayLike,
    normalization: Normalization = "sphere",
    samples: int = 30_000,
    seed: int = 0,
    *,
    partial: bool = False,
    frame: Frame = "user",
) -> Observation:
    """Turn a mesh, a table of points or samples, or a file of either (`geometry.cloud_files`) into an observation.

    `normalization` is the space's; meshes and points in a user's frame are brought to model space by it. With
    `partial`, nothing is concluded from where a mesh or points show no surface. Raises MeshError for a mesh or a table
    that cannot say where a surface is.
    """
    if isinstance(target, str | Path):
        target = load_mesh_or_points(target)
    rng = np.random.default_rng(seed)
    normalization = "none" if frame == "model" else normalization
    if isinstance(target, trimesh.Trimesh):
        cleaned, _ = meshes.clean(target)
        model_mesh, similarity = meshes.normalize(cleaned, normalization)
        from_mesh = _from_part(model_mesh, rng, seed) if partial else _from_mesh(model_mesh, samples, rng, seed)
        return _observation(from_mesh, similarity)
    table = as_table("", target)
    if table.shape[1] == 4:
        return _observation(_from_signed(table), IDENTITY)
    if table.shape[1] == 2:
        raise MeshError(f"a space holds solids, got points in the plane, shape {table.shape}; see `reconstruct`")
    cloud = prepare_point_cloud(table, normalization=normalization)
    points, normals = cloud.points, cloud.normals
    if len(points) > _MOST_POINTS:
        kept = rng.choice(len(points), _MOST_POINTS, replace=False)
        points, normals = points[kept], None if normals is None else normals[kept]
    if normals is None and not partial:
        return _unsided(UnorientedPointCloud(points, rng), cloud.similarity)
    return _observation(bounds(points, normals, partial=partial, rng=rng), cloud.similarity)


def _unsided(
    cloud: UnorientedPointCloud, similarity: Similarity, outward: NDArray[np.float32] | None = None
) -> Observation:
    return dataclasses.replace(_observation(cloud.bounds(outward), similarity), cloud=cloud)


def _observation(known: Bounds, similarity: Similarity) -> Observation:
    points, low, high = (column.astype(np.float32) for column in known)
    return Observation(points, low, high, similarity)


def _from_mesh(model_mesh: trimesh.Trimesh, samples: int, rng: np.random.Generator, seed: int) -> Bounds:
    count = samples // (len(_NEAR_STDS) + 1)
    surface = np.asarray(trimesh.sample.sample_surface(model_mesh, count * len(_NEAR_STDS), seed=seed)[0])
    noise = rng.normal(size=surface.shape) * np.repeat(_NEAR_STDS, count)[:, None]
    uniform = rng.uniform(-1, 1, (count, 3))
    points = np.concatenate((np.clip(surface + noise, -1, 1), uniform))
    distance = solid_from_config(model_mesh, SamplingConfig())(points)
    return Bounds(points, distance, distance)


def _from_part(model_mesh: trimesh.Trimesh, rng: np.random.Generator, seed: int) -> Bounds:
    points, face = trimesh.sample.sample_surface(model_mesh, _MOST_POINTS, seed=seed)
    normals = np.asarray(model_mesh.face_normals)[face]
    return bounds(np.asarray(points), normals, partial=True, rng=rng)


def _from_signed(array: NDArray[np.float64]) -> Bounds:
    require_usable_points("", array)
    points, distance = array[:, :3], array[:, 3]
    if np.abs(points).max() > _FARTHEST:
        raise MeshError(
            f"signed samples must be in model space [-1, 1]^3, but coordinates reach {np.abs(points).max():.3g}; "
            "scale them first, or pass the mesh or points"
        )
    if np.abs(distance).min() >= NEAR:
        raise MeshError(f"no signed sample lies within {NEAR} of the surface, so they do not say where it is")
    return Bounds(points, distance, distance)
