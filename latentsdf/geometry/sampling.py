"""One mesh in model space to the signed samples that training reads: dense in the band, sparse everywhere."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config import SamplingConfig
from latentsdf.errors import ConfigError
from latentsdf.geometry.distance import MeshDistance
from latentsdf.geometry.lattice import narrow_band
from latentsdf.geometry.sign import SignReport, lattice_inside
from latentsdf.geometry.sparse import sparse_lattice

Float32 = NDArray[np.float32]

_NORMAL_STEP = 1e-4


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
    """(M, 6) points on the surface with outward unit normals."""
    sign: SignReport


def sample(mesh: trimesh.Trimesh, config: SamplingConfig, seed: int = 0) -> SdfSamples:
    """Sample a cleaned mesh that lies in [-1, 1]^3; same mesh, config and seed, same samples.

    Raises MeshError for a mesh without faces, ConfigError for a sparse resolution that does not divide the dense one.
    """
    if config.sparse_resolution < 1 or config.resolution % config.sparse_resolution:
        raise ConfigError(
            f"sparse_resolution must divide resolution, got {config.sparse_resolution} and {config.resolution}; "
            "set both to powers of two."
        )
    rng = np.random.default_rng(seed)
    distance = MeshDistance(mesh, config.sign)
    lattices = [_sparse(mesh, distance, config.sparse_resolution), _band(mesh, distance, config)]
    near = _on_surface(mesh, config.near, rng)[0] + rng.normal(scale=config.near_std, size=(config.near, 3))
    uniform = rng.uniform(-1, 1, size=(config.uniform, 3))
    sparse, band = lattices
    return SdfSamples(
        resolution=config.resolution,
        band_voxels=config.band_voxels,
        band_index=band.index,
        band_distance=band.distance,
        sparse_resolution=config.sparse_resolution,
        sparse_distance=sparse.distance.reshape((config.sparse_resolution + 1,) * 3),
        near=_with_distance(distance, lattices, near),
        uniform=_with_distance(distance, lattices, uniform),
        surface=_surface(mesh, distance, lattices, config.surface, rng),
        sign=distance.report,
    )


def band_width(resolution: int, band_voxels: float) -> float:
    """Half width of a band of so many cells, in model space."""
    return band_voxels * 2 / resolution


def lattice_points(index: NDArray[np.integer[Any]], resolution: int) -> Float32:
    """Positions (N, 3) in [-1, 1] of lattice vertices with linear indices (N,)."""
    i, j, k = np.unravel_index(np.asarray(index), (resolution + 1,) * 3)
    return (np.stack([i, j, k], axis=1) * (2 / resolution) - 1).astype(np.float32)


@dataclass(frozen=True)
class _SignedLattice:
    """Signed distances at sorted linear indices, which settle the sign of points around them."""

    resolution: int
    index: NDArray[np.uint32]
    distance: Float32
    margin: float
    """How much too large a distance can be."""

    def settle(self, points: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the points (N, 3) lie nearer to their closest vertex than it to the surface, and are they inside?"""
        cell = np.clip(np.rint((points + 1) * (self.resolution / 2)).astype(np.int64), 0, self.resolution)
        linear = np.ravel_multi_index(tuple(cell.T), (self.resolution + 1,) * 3).astype(np.uint32)
        at = linear.astype(np.int64)
        if len(self.index) < (self.resolution + 1) ** 3:
            at = np.minimum(np.searchsorted(self.index, linear), len(self.index) - 1)
        value = self.distance[at]
        apart = np.linalg.norm(points - (cell * (2 / self.resolution) - 1), axis=1)
        return (self.index[at] == linear) & (np.abs(value) > apart * (1 + 1e-5) + self.margin), value < 0


def _band(mesh: trimesh.Trimesh, distance: MeshDistance, config: SamplingConfig) -> _SignedLattice:
    band = narrow_band(mesh, config.resolution, config.band_voxels)
    inside = lattice_inside(distance.rule, band.index, config.resolution, band.distance, band.face)
    return _SignedLattice(config.resolution, band.index, np.where(inside, -band.distance, band.distance), 1e-6)


def _sparse(mesh: trimesh.Trimesh, distance: MeshDistance, resolution: int) -> _SignedLattice:
    values, face = sparse_lattice(mesh, resolution)
    values = values.reshape(-1)
    index = np.arange(values.size, dtype=np.uint32)
    inside = lattice_inside(distance.rule, index, resolution, values, face.reshape(-1))
    return _SignedLattice(resolution, index, np.where(inside, -values, values), 0.2 / resolution)


def _inside(
    distance: MeshDistance, lattices: list[_SignedLattice], points: NDArray[np.float64], face: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Inside (N,): from the lattices where they settle it, else from the rule, which may be slow."""
    inside = np.empty(len(points), dtype=np.bool_)
    left = np.arange(len(points))
    for lattice in lattices:
        if len(lattice.index):
            settled, answer = lattice.settle(points[left])
            inside[left[settled]] = answer[settled]
            left = left[~settled]
    inside[left] = distance.rule(points[left], face[left])
    return inside


def _on_surface(mesh: trimesh.Trimesh, count: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Area-weighted points (M, 3) and their faces (M,)."""
    points, face = trimesh.sample.sample_surface(mesh, count, seed=rng)[:2]
    return np.asarray(points), np.asarray(face)


def _with_distance(distance: MeshDistance, lattices: list[_SignedLattice], points: NDArray[np.float64]) -> Float32:
    """Rounded to float32 first, so that the distance is that of the stored point."""
    points = points.astype(np.float32).astype(np.float64)
    unsigned, face, _ = distance.unsigned(points)
    signed = np.where(_inside(distance, lattices, points, face), -unsigned, unsigned)
    return np.column_stack([points, signed]).astype(np.float32)


def _surface(
    mesh: trimesh.Trimesh, distance: MeshDistance, lattices: list[_SignedLattice], count: int, rng: np.random.Generator
) -> Float32:
    """Points with face normals, turned where only the side a normal points to is inside.

    Tried a dense step away first, where the lattices know the answer, then close by for walls thinner than that.
    """
    points, face = _on_surface(mesh, count, rng)
    normal = np.asarray(mesh.face_normals)[face]
    turn = np.zeros(count, dtype=np.bool_)
    left = np.arange(count)
    for step in (3 / lattices[-1].resolution, _NORMAL_STEP):
        start, along, of = points[left], step * normal[left], face[left]
        ahead = _inside(distance, lattices, start + along, of)
        behind = _inside(distance, lattices, start - along, of)
        turn[left] = ahead & ~behind
        left = left[ahead == behind]
    return np.column_stack([points, np.where(turn[:, None], -normal, normal)]).astype(np.float32)
