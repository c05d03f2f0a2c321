"""One mesh in model space -> its signed distance samples: exact band, sparse lattice, near, uniform, surface."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, UInt32
from numpy.typing import NDArray

from latentsdf.config import SamplingConfig
from latentsdf.errors import ConfigError
from latentsdf.geometry.distance import MeshDistance
from latentsdf.geometry.lattice import full_lattice, narrow_band
from latentsdf.geometry.sign import SignReport, SignRule


@dataclass(frozen=True)
class SdfSamples:
    """Samples of one shape in model space; distances are negative inside.

    `band_index` (B,) sorted linear indices on the dense lattice with `band_distance` (B,); `sparse_distance` on all
    (r + 1)^3 vertices of the sparse lattice; `near` and `uniform` (M, 4) points with distances; `surface` (M, 6)
    points with unit normals.
    """

    resolution: int
    band_voxels: float
    band_index: UInt32[NDArray[np.uint32], " B"]
    band_distance: Float[NDArray[np.float32], " B"]
    sparse_resolution: int
    sparse_distance: Float[NDArray[np.float32], "N N N"]
    near: Float[NDArray[np.float32], "M 4"]
    uniform: Float[NDArray[np.float32], "M 4"]
    surface: Float[NDArray[np.float32], "M 6"]
    sign: SignReport


def sample(mesh: trimesh.Trimesh, config: SamplingConfig, seed: int) -> SdfSamples:
    """All samples of one clean mesh in model space, reproducible from the seed.

    Raises ConfigError for resolutions that do not nest. Cost follows the surface area: about 2.5 s for 4.2 million
    band points on one core (Armadillo, 512^3, 6 voxels).
    """
    if config.resolution % config.sparse_resolution:
        raise ConfigError(
            f"sparse_resolution {config.sparse_resolution} must divide resolution {config.resolution}, "
            "so that its vertices lie on the dense lattice"
        )
    rng = np.random.default_rng(seed)
    signed = MeshDistance(mesh, config.sign)
    rule = signed.rule
    band = narrow_band(mesh, config.resolution, config.band_voxels)
    inside = rule.inside_lattice(band.index, config.resolution, band.distance, band.face)
    sparse, sparse_face = full_lattice(mesh, config.sparse_resolution)
    every = np.arange(sparse.size, dtype=np.uint32)
    sparse_inside = rule.inside_lattice(every, config.sparse_resolution, sparse.ravel(), sparse_face.ravel())
    surface = _surface(mesh, rule, config.surface, rng)
    moved = _surface_points(mesh, config.near, rng)[0] + rng.normal(size=(config.near, 3)) * config.near_std
    return SdfSamples(
        config.resolution,
        config.band_voxels,
        band.index,
        _signed(band.distance, inside),
        config.sparse_resolution,
        _signed(sparse.ravel(), sparse_inside).reshape(sparse.shape),
        _with_distance(signed, np.clip(moved, -1, 1)),
        _with_distance(signed, rng.uniform(-1, 1, (config.uniform, 3))),
        surface,
        signed.report,
    )


def _signed(distance: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(inside, -distance, distance)


def _with_distance(signed: MeshDistance, points: NDArray[np.float64]) -> NDArray[np.float32]:
    if len(points) == 0:
        return np.empty((0, 4), dtype=np.float32)
    return np.column_stack((points, signed(points))).astype(np.float32)


def _surface_points(
    mesh: trimesh.Trimesh, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Area-weighted points and their faces."""
    if count == 0:
        return np.empty((0, 3)), np.empty(0, dtype=np.int64)
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=int(rng.integers(2**31)))
    return np.asarray(points, dtype=np.float64), np.asarray(faces)


def _surface(mesh: trimesh.Trimesh, rule: SignRule, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Surface points with the face normal, turned outward where one side is inside and the other is not."""
    points, face = _surface_points(mesh, count, rng)
    normals = np.asarray(mesh.face_normals)[face] * rule.orientation[face][:, None]
    return np.column_stack((points, normals)).astype(np.float32)
