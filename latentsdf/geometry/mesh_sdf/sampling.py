"""Signed distance samples of one mesh, as stored in the sample store and used in training.

The samples are signed distances, negative inside, of the solid that the mesh bounds (`solid`), in model space: at all
vertices of a dense lattice in a narrow band around the surface, at all vertices of a sparse lattice, and at random
points near the surface and in the whole box.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.arguments import check_arguments, with_options
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.validation import Seed
from latentsdf.geometry.lattice import band_width, cell_size, lattice_shape
from latentsdf.geometry.mesh_sdf.backend_distance import distance_of_backend, remeasured, within_band
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.geometry.targets import read_mesh
from latentsdf.utils.errors import ConfigError, MeshError

Float32 = NDArray[np.float32]

SAMPLING_VERSION = 2
"""Version of the algorithm, recorded with every stored shape; increased when a fault of the samples is mended.

1: signs next to wide holes could be those of whole cubes of 16 cells, and depths between the two faces of thin walls
those of a distant part. Shapes without a recorded version have this one.
"""

_NORMAL_STEP = 1e-4  # distance from the surface at which a normal is tested
_ON_BOUNDARY = 1e-6  # largest |s| of a point on the boundary
_ROUNDING = 2e-6  # bound on the error of a difference of two float32 lattice distances


@dataclass(frozen=True)
class SdfSamples:
    """Signed distance samples of one shape, in model space [-1, 1]^3, negative inside."""

    resolution: int
    """Cells per axis of the dense lattice."""
    band_voxels: float
    """Half width of the narrow band in cells of the dense lattice."""
    band_index: NDArray[np.uint32]
    """(B,) sorted linear indices of all dense lattice vertices within the band."""
    band_distance: Float32
    """(B,) signed distances of these vertices."""
    sparse_resolution: int
    """Cells per axis of the sparse lattice, r."""
    sparse_distance: Float32
    """(r + 1, r + 1, r + 1) signed distances on the whole sparse lattice; (0, 0, 0) if r is 0."""
    near: Float32
    """(M, 4) surface points displaced by Gaussian noise, and their signed distances."""
    uniform: Float32
    """(M, 4) points uniform in the box, and their signed distances."""
    surface: Float32
    """(M, 6) points on the surface and outward unit normals; (M, 3) for a point cloud without normals."""
    sign: SignReport
    """Method that determined the sign, and its reliability."""


def samples_without_lattices(
    config: SamplingConfig, sign: str, *, near: Float32 | None = None, surface: Float32 | None = None
) -> SdfSamples:
    """Build samples without lattice values from scattered points, in model space.

    Args:
        config: Lattice resolutions and band width to record.
        sign: Name of the source of the sign, stored in the sign report with confidence 0.
        near: Points and signed distances (M, 4).
        surface: Surface points with normals (M, 6) or without (M, 3).

    Returns:
        Samples with an empty band, an empty sparse lattice and no uniform points.
    """
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


@check_arguments
def sample(mesh: Any, config: SamplingConfig | None = None, seed: Seed = 0, **options: Any) -> SdfSamples:
    """Sample the signed distance of a mesh. The result is a deterministic function of the arguments.

    Args:
        mesh: Cleaned mesh in [-1, 1]^3, or its file, in any form that `geometry.targets` lists; see
            `geometry.mesh.clean` and `geometry.mesh.normalize`.
        config: Resolutions, band width, numbers of points, sign method and sheet thickness; defaults to
            `SamplingConfig()`.
        seed: Seed of the random points.
        **options: Single settings of `SamplingConfig`, which replace those of `config`.

    Returns:
        The samples, exact up to float32 rounding, or as accurate as the backend `config.distance`.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The mesh is unusable or leaves the box, or the target consists of points.
        MissingExtraError: The backend `config.distance` is not installed.
        ConfigError: A setting is unknown or out of range, or the sparse resolution does not divide the dense one.
    """
    config = with_options(SamplingConfig, config, options)
    if config.sparse_resolution < 1 or config.resolution % config.sparse_resolution:
        raise ConfigError(
            f"sparse_resolution must divide resolution, got {config.sparse_resolution} and {config.resolution}; "
            "set both to powers of two"
        )
    mesh = read_mesh(mesh, "sampling")
    reach = float(np.abs(mesh.bounds).max())
    if not reach <= 1:
        raise MeshError(
            f"the mesh reaches {reach:.4g}, outside the box [-1, 1]^3 of model space, in which it is sampled; pass the "
            "mesh that `latentsdf.geometry.mesh.normalize(mesh)` returns"
        )
    rng = np.random.default_rng(seed)
    solid = solid_from_config(mesh, config)
    near = _sample_mesh(mesh, config.near, rng)[0] + rng.normal(scale=config.near_std, size=(config.near, 3))
    uniform = rng.uniform(-1, 1, size=(config.uniform, 3))
    # The distances are evaluated at the points rounded to float32, as stored.
    points = np.concatenate([near, uniform]).astype(np.float32).astype(np.float64)
    sparse, closest = solid.full_lattice_and_points(config.sparse_resolution, points)
    violation = _largest_jump(sparse.distance, config.sparse_resolution) / (0.5 * float(np.linalg.norm(mesh.extents)))
    report = replace(solid.report, confidence=min(solid.report.confidence, max(0.0, 1 - violation)))
    band = solid.narrow_band(config.resolution, config.band_voxels)
    scattered_distance = solid(points, closest)
    if config.distance != "latentsdf":
        distance = distance_of_backend(solid, config.distance)
        sparse, band = remeasured(sparse, distance), within_band(remeasured(band, distance), config.band_voxels)
        scattered_distance = distance(points)
    scattered = np.column_stack([points, scattered_distance]).astype(np.float32)
    return SdfSamples(
        resolution=config.resolution,
        band_voxels=config.band_voxels,
        band_index=band.index,
        band_distance=band.distance,
        sparse_resolution=config.sparse_resolution,
        sparse_distance=sparse.distance.reshape(lattice_shape(config.sparse_resolution)),
        near=scattered[: config.near],
        uniform=scattered[config.near :],
        surface=_sample_boundary(solid, config.surface, 3 / config.resolution, rng),
        sign=report,
    )


def solid_from_config(mesh: trimesh.Trimesh, config: SamplingConfig) -> Solid:
    """Solid that a mesh in model space bounds, with the sheet thickness and sign method of a sampling configuration."""
    return Solid(mesh, band_width(config.resolution, config.sheet_thickness), config.sign)


def _largest_jump(distance: Float32, resolution: int) -> float:
    """Largest violation of |d(x) - d(y)| <= |x - y| between adjacent vertices of a whole lattice; 0 without one."""
    lattice = distance.reshape(lattice_shape(resolution))
    largest = max(float(np.abs(np.diff(lattice, axis=axis)).max()) for axis in range(3))
    return max(0.0, largest - cell_size(resolution) - _ROUNDING)


def _sample_mesh(mesh: trimesh.Trimesh, count: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Points (M, 3) uniform by area, and their faces (M,)."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=rng)[:2]
    return np.asarray(points), np.asarray(face)


def _sample_boundary(solid: Solid, count: int, step: float, rng: np.random.Generator) -> Float32:
    """Points and outward normals (M, 6), uniform by area, on the boundary of the solid.

    Draws from the surfaces of the body and of the thickened sheets and rejects points that the other part covers.
    """
    body, sheets = float(solid.body.area), 2 * float(solid.sheets.area)
    if not sheets:
        return _sample_body(solid, count, step, rng)
    parts: list[Float32] = []
    missing = count
    while missing > 0:
        on_body = int(rng.binomial(missing, body / (body + sheets)))
        drawn = [_sample_sheets(solid, missing - on_body, rng)]
        if on_body:
            drawn.append(_sample_body(solid, on_body, step, rng))
        points = np.concatenate(drawn)
        parts.append(points[np.abs(solid(points[:, :3].astype(np.float64))) < _ON_BOUNDARY])
        missing -= len(parts[-1])
    return np.concatenate(parts)


def _sample_sheets(solid: Solid, count: int, rng: np.random.Generator) -> Float32:
    """Points and normals (M, 6) at half a thickness from either side of the sheets."""
    points, face = _sample_mesh(solid.sheets, count, rng)
    normal = np.asarray(solid.sheets.face_normals)[face] * rng.choice([-1.0, 1.0], size=(count, 1))
    return np.column_stack([points + solid.radius * normal, normal]).astype(np.float32)


def _sample_body(solid: Solid, count: int, step: float, rng: np.random.Generator) -> Float32:
    """Points on the body and outward normals (M, 6).

    A face normal is reversed if the side in front of the face is inside and the side behind it is not. Both sides are
    tested at distance `step`, where the lattices usually determine the sign, and, if that is inconclusive (walls
    thinner than `step`), close to the surface.
    """
    points, face = _sample_mesh(solid.body, count, rng)
    normal = np.asarray(solid.body.face_normals)[face]
    reverse = np.zeros(count, dtype=np.bool_)
    remaining = np.arange(count)
    for length in (step, _NORMAL_STEP):
        start, offset, start_face = points[remaining], length * normal[remaining], face[remaining]
        front = solid.inside_body(start + offset, start_face)
        back = solid.inside_body(start - offset, start_face)
        reverse[remaining] = front & ~back
        remaining = remaining[front == back]
    return np.column_stack([points, np.where(reverse[:, None], -normal, normal)]).astype(np.float32)
