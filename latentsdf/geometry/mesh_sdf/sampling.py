"""One mesh in model space to the signed samples that training reads: dense in the band, sparse everywhere."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.lattice import band_width, lattice_shape
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.utils.errors import ConfigError, MeshError

Float32 = NDArray[np.float32]

_NORMAL_STEP = 1e-4
_COVERED = 1e-6


@dataclass(frozen=True)
class SdfSamples:
    """Signed distances of one shape in model space, negative inside."""

    resolution: int
    """Cells per axis of the dense lattice."""
    band_voxels: float
    band_index: NDArray[np.uint32]
    """(B,) sorted linear indices of all dense lattice vertices within the band."""
    band_distance: Float32
    """(B,)"""
    sparse_resolution: int
    sparse_distance: Float32
    """(r + 1, r + 1, r + 1), the whole sparse lattice; (0, 0, 0) where r is 0."""
    near: Float32
    """(M, 4) surface points with Gaussian noise, and their distance."""
    uniform: Float32
    """(M, 4) points uniform in the box, and their distance."""
    surface: Float32
    """(M, 6) points on the surface with outward unit normals, or (M, 3) of a cloud without them."""
    sign: SignReport


def without_lattices(
    config: SamplingConfig, sign: str, *, near: Float32 | None = None, surface: Float32 | None = None
) -> SdfSamples:
    """Samples made elsewhere, in model space: distances `near` (M, 4) at any places, or points of the surface alone."""
    return SdfSamples(
        resolution=config.resolution,
        band_voxels=config.band_voxels,
        band_index=np.empty(0, np.uint32),
        band_distance=np.empty(0, np.float32),
        sparse_resolution=config.sparse_resolution,
        sparse_distance=np.empty((0, 0, 0), np.float32),
        near=np.empty((0, 4), np.float32) if near is None else near,
        uniform=np.empty((0, 4), np.float32),
        surface=np.empty((0, 6), np.float32) if surface is None else surface,
        sign=SignReport(sign, 0.0),
    )


def sample(mesh: trimesh.Trimesh, config: SamplingConfig, seed: int = 0) -> SdfSamples:
    """Sample a cleaned mesh that lies in [-1, 1]^3; same mesh, config and seed, same samples.

    Raises MeshError for a mesh without faces, ConfigError for a sparse resolution that does not divide the dense one.
    """
    if config.sparse_resolution < 1 or config.resolution % config.sparse_resolution:
        raise ConfigError(
            f"sparse_resolution must divide resolution, got {config.sparse_resolution} and {config.resolution}; "
            "set both to powers of two."
        )
    if not len(mesh.faces):
        raise MeshError("the mesh has no faces, so there is no surface to measure from; pass a triangle mesh.")
    rng = np.random.default_rng(seed)
    solid = stored_solid(mesh, config)
    sparse = solid.sparse(config.sparse_resolution)
    band = solid.band(config.resolution, config.band_voxels)
    near = _on_surface(mesh, config.near, rng)[0] + rng.normal(scale=config.near_std, size=(config.near, 3))
    uniform = rng.uniform(-1, 1, size=(config.uniform, 3))
    return SdfSamples(
        resolution=config.resolution,
        band_voxels=config.band_voxels,
        band_index=band.index,
        band_distance=band.distance,
        sparse_resolution=config.sparse_resolution,
        sparse_distance=sparse.distance.reshape(lattice_shape(config.sparse_resolution)),
        near=_with_distance(solid, near),
        uniform=_with_distance(solid, uniform),
        surface=_surface(solid, config.surface, 3 / config.resolution, rng),
        sign=solid.report,
    )


def stored_solid(mesh: trimesh.Trimesh, config: SamplingConfig) -> Solid:
    """What a store with these settings holds of a mesh in model space."""
    return Solid(mesh, band_width(config.resolution, config.sheet_thickness), config.sign)


def _on_surface(mesh: trimesh.Trimesh, count: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Area-weighted points (M, 3) and their faces (M,)."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=rng)[:2]
    return np.asarray(points), np.asarray(face)


def _with_distance(solid: Solid, points: NDArray[np.float64]) -> Float32:
    """Rounded to float32 first, so that the distance is that of the stored point."""
    points = points.astype(np.float32).astype(np.float64)
    return np.column_stack([points, solid(points)]).astype(np.float32)


def _surface(solid: Solid, count: int, step: float, rng: np.random.Generator) -> Float32:
    """Points with normals on the body and on both sides of the slabs; none where one of these covers the other."""
    body, slab = float(solid.body.area), 2 * float(solid.slab.area)
    if not slab:
        return _body_surface(solid, count, step, rng)
    parts: list[Float32] = []
    missing = count
    while missing > 0:
        on_body = int(rng.binomial(missing, body / (body + slab)))
        drawn = [_slab_surface(solid, missing - on_body, rng)]
        if on_body:
            drawn.append(_body_surface(solid, on_body, step, rng))
        points = np.concatenate(drawn)
        parts.append(points[np.abs(solid(points[:, :3].astype(np.float64))) < _COVERED])
        missing -= len(parts[-1])
    return np.concatenate(parts)


def _slab_surface(solid: Solid, count: int, rng: np.random.Generator) -> Float32:
    """Points half a thickness from either side of a sheet, with normals."""
    points, face = _on_surface(solid.slab, count, rng)
    normal = np.asarray(solid.slab.face_normals)[face] * rng.choice([-1.0, 1.0], size=(count, 1))
    return np.column_stack([points + solid.radius * normal, normal]).astype(np.float32)


def _body_surface(solid: Solid, count: int, step: float, rng: np.random.Generator) -> Float32:
    """Points with face normals, turned where only the side a normal points to is inside.

    Tried a dense step away first, where the lattices know the answer, then close by for walls thinner than that.
    """
    points, face = _on_surface(solid.body, count, rng)
    normal = np.asarray(solid.body.face_normals)[face]
    turn = np.zeros(count, dtype=np.bool_)
    left = np.arange(count)
    for away in (step, _NORMAL_STEP):
        start, along, of = points[left], away * normal[left], face[left]
        ahead = solid.inside_body(start + along, of)
        behind = solid.inside_body(start - along, of)
        turn[left] = ahead & ~behind
        left = left[ahead == behind]
    return np.column_stack([points, np.where(turn[:, None], -normal, normal)]).astype(np.float32)
