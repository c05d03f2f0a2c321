"""Conversion of meshes, point clouds and signed samples to bounds on signed distances, to which codes are fitted.

- A mesh becomes signed samples near the surface and in the box; as a partial observation, points with normals.
- An array (N, 3) holds points, (N, 6) points with normals, (N, 4) points with signed distances. `geometry.targets`
  lists all other forms.

Meshes and points are in the user's frame and are normalized like training shapes, or are already in model space. Signed
samples must be in model space, because their bounding box does not determine the bounding box of the surface.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from latentsdf.config.frames import Frame
from latentsdf.config.sampling import Normalization, SamplingConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud, require_usable_points
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.geometry.targets import read_target
from latentsdf.latent.inversion.sdf_bounds import DistanceBounds, distance_bounds
from latentsdf.latent.inversion.unoriented_points import UnorientedPointCloud
from latentsdf.utils.errors import MeshError

NEAR = 0.05
"""Maximum distance to the surface, in model space, of the samples on which the residual of a fit is measured."""
_NEAR_STDS = (0.05, 0.01, 0.0025)
_MAX_POINTS = 20_000
_MAX_COORDINATE = 1.1


@dataclass(frozen=True)
class Observation:
    """Bounds on the signed distance of a shape at points in model space."""

    points: Float[NDArray[np.float32], "N 3"]
    low: Float[NDArray[np.float32], " N"]
    """Lower bounds; equal to the upper bounds where the distance is known."""
    high: Float[NDArray[np.float32], " N"]
    """Upper bounds."""
    similarity: Similarity
    """Similarity between the user's frame and model space."""
    cloud: UnorientedPointCloud | None = None
    """Points of a complete surface without normals, which `orient_observation` orients; otherwise None."""
    surface: Float[NDArray[np.float32], "M 3"] | None = None
    """Points on the surface; None for an observation of signed samples."""
    normals: Float[NDArray[np.float32], "M 3"] | None = None
    """Outward unit normals at `surface`, if known."""

    @property
    def near(self) -> Bool[NDArray[np.bool_], " N"]:
        """True for samples known to be within 0.05 of the surface."""
        return np.maximum(np.abs(self.low), np.abs(self.high)) < NEAR


def orient_observation(observation: Observation, outward: Float[NDArray[np.float32], "M 3"]) -> Observation:
    """Return an observation with the signs that follow from a fit.

    Args:
        observation: Observation of a cloud without normals (`cloud` is not None).
        outward: Outward unit directions (M, 3) of a fit at the M points of the cloud.
    """
    assert observation.cloud is not None
    return _from_unoriented(observation.cloud, observation.similarity, outward)


def observe(
    target: Any,
    normalization: Normalization = "sphere",
    samples: int = 30_000,
    seed: int = 0,
    *,
    partial: bool = False,
    frame: Frame = "shape",
) -> Observation:
    """Convert a mesh, an array of points or samples, or a file of either to an observation.

    Args:
        target: Mesh, points or signed samples, in any form that `geometry.targets` lists.
        normalization: The space's normalization, which maps meshes and points from the user's frame to model space.
        samples: Number of samples of a mesh.
        seed: Seed of the samples.
        partial: The target covers only part of the surface; regions without points are unknown, not empty.
        frame: `shape`, or `model` for a target that is already in model space.

    Returns:
        Bounds on the signed distance at points in model space.

    Raises:
        MeshError: The target does not determine a surface: the mesh is unusable, points are too few or not finite, or
            signed samples are outside model space or far from the surface.
    """
    target = read_target(target)
    rng = np.random.default_rng(seed)
    normalization = "none" if frame == "model" else normalization
    if isinstance(target, trimesh.Trimesh):
        cleaned, _ = meshes.clean(target)
        model_mesh, similarity = meshes.normalize(cleaned, normalization)
        from_mesh = _from_part(model_mesh, rng, seed) if partial else _from_mesh(model_mesh, samples, rng, seed)
        return _observation(from_mesh[0], similarity, *from_mesh[1:])
    if target.distances is not None:
        return _observation(_from_signed(target), IDENTITY)
    if target.dim == 2:
        raise MeshError(f"a shape space needs points in 3D, got planar points {target.points.shape}; use `reconstruct`")
    cloud = prepare_point_cloud(target, normalization=normalization)
    points, normals = cloud.points, cloud.normals
    if len(points) > _MAX_POINTS:
        kept = rng.choice(len(points), _MAX_POINTS, replace=False)
        points, normals = points[kept], None if normals is None else normals[kept]
    if normals is None and not partial:
        return _from_unoriented(UnorientedPointCloud(points, rng), cloud.similarity)
    return _observation(distance_bounds(points, normals, partial=partial, rng=rng), cloud.similarity, points, normals)


def _from_unoriented(
    cloud: UnorientedPointCloud, similarity: Similarity, outward: NDArray[np.float32] | None = None
) -> Observation:
    return dataclasses.replace(_observation(cloud.bounds(outward), similarity, cloud.points), cloud=cloud)


def _observation(
    known: DistanceBounds,
    similarity: Similarity,
    surface: NDArray[np.float64] | None = None,
    normals: NDArray[np.float64] | None = None,
) -> Observation:
    points, low, high = (column.astype(np.float32) for column in known)
    on_surface = (None if column is None else column.astype(np.float32) for column in (surface, normals))
    return Observation(points, low, high, similarity, None, *on_surface)


def _from_mesh(
    model_mesh: trimesh.Trimesh, samples: int, rng: np.random.Generator, seed: int
) -> tuple[DistanceBounds, NDArray[np.float64], NDArray[np.float64]]:
    """Bounds, and surface points with normals."""
    count = samples // (len(_NEAR_STDS) + 1)
    surface, normals = _surface_samples(model_mesh, count * len(_NEAR_STDS), seed)
    noise = rng.normal(size=surface.shape) * np.repeat(_NEAR_STDS, count)[:, None]
    uniform = rng.uniform(-1, 1, (count, 3))
    points = np.concatenate((np.clip(surface + noise, -1, 1), uniform))
    distance = solid_from_config(model_mesh, SamplingConfig())(points)
    return DistanceBounds(points, distance, distance), surface, normals


def _from_part(
    model_mesh: trimesh.Trimesh, rng: np.random.Generator, seed: int
) -> tuple[DistanceBounds, NDArray[np.float64], NDArray[np.float64]]:
    """Bounds, and surface points with normals."""
    points, normals = _surface_samples(model_mesh, _MAX_POINTS, seed)
    return distance_bounds(points, normals, partial=True, rng=rng), points, normals


def _surface_samples(mesh: trimesh.Trimesh, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, face = trimesh.sample.sample_surface(mesh, count, seed=seed)
    return np.asarray(points), np.asarray(mesh.face_normals)[face]


def _from_signed(table: PointTable) -> DistanceBounds:
    assert table.distances is not None
    require_usable_points("", table)
    points, distance = table.points, table.distances
    if np.abs(points).max() > _MAX_COORDINATE:
        raise MeshError(
            f"signed samples must be in model space [-1, 1]^3, but coordinates reach {np.abs(points).max():.3g}; "
            "scale them first, or pass the mesh or points"
        )
    if np.abs(distance).min() >= NEAR:
        raise MeshError(f"no signed sample lies within {NEAR} of the surface, so they do not determine where it is")
    return DistanceBounds(points, distance, distance)
