"""Unsigned distance of a mesh at the lattice vertices in a narrow band around it.

The narrow band of half width w cells on a lattice of resolution R (see `lattice`) is the set of vertices x with

    d(x) = min over points c of the mesh of |x - c| <= 2 w / R

It is computed by a closest point transform (`closest_point_transform`) whose time and memory are proportional to the
band, without a closest-point query per vertex. Meshes and distances are in model space [-1, 1]^3; the compiled kernels
work in lattice units.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.geometry.lattice import cell_size, check_resolution, to_lattice_units
from latentsdf.geometry.mesh_sdf.adjacency import build_adjacency
from latentsdf.geometry.mesh_sdf.closest_point_transform import face_frames, scan_convert_mesh
from latentsdf.geometry.mesh_sdf.triangles import triangle_areas
from latentsdf.utils.errors import ConfigError

_MAX_BALANCED_FACES = 20_000  # sample of the faces by which slabs are balanced

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class NarrowBand:
    """Lattice vertices near a surface."""

    index: NDArray[np.uint32]
    """(B,) sorted linear indices."""
    distance: NDArray[np.float32]
    """(B,) unsigned distances in model space."""
    face: NDArray[np.int32]
    """(B,) closest faces."""


class LatticeMesh(NamedTuple):
    """Mesh in lattice units, with the inputs of the closest point transform.

    `normal`, `outward` and `valid` come from `face_frames`, the edges and neighbors from `build_adjacency`.
    """

    vertices: Floats
    faces: Ints
    normal: Floats
    outward: Floats
    valid: NDArray[np.bool_]
    edges: Ints
    edge_start: Ints
    edge_faces: Ints
    vertex_start: Ints
    vertex_next: Ints

    @staticmethod
    def from_mesh(mesh: trimesh.Trimesh, resolution: int, mapped: Callable[..., Iterable[Any]] = map) -> "LatticeMesh":
        """Convert a mesh to lattice units and compute its face frames and adjacency.

        Args:
            mesh: Mesh in model space.
            resolution: Cells per axis.
            mapped: `map`, or the `map` of a thread pool to compute frames and adjacency concurrently.

        Raises:
            ConfigError: The resolution is outside 1..1624.
        """
        check_resolution(resolution)
        vertices, faces = vertices_in_lattice_units(mesh, resolution), np.ascontiguousarray(mesh.faces, dtype=np.int64)
        tasks = (lambda: face_frames(vertices, faces)), (lambda: build_adjacency(faces, len(vertices)))
        frames, adjacency = mapped(lambda task: task(), tasks)
        return LatticeMesh(vertices, faces, *frames, *adjacency)


def narrow_band(mesh: trimesh.Trimesh, resolution: int, band_voxels: float) -> NarrowBand:
    """Find all lattice vertices within a distance of a mesh, with distances exact up to float32 rounding.

    Args:
        mesh: Mesh in model space; parts outside [-1, 1]^3 are included.
        resolution: Cells per axis.
        band_voxels: Half width of the band in cells.

    Returns:
        The narrow band.

    Raises:
        ConfigError: The resolution is outside 1..1624, or the band width is not positive.
    """
    return narrow_band_in_slabs(LatticeMesh.from_mesh(mesh, resolution), resolution, band_voxels, map, 1)


def narrow_band_in_slabs(
    mesh: LatticeMesh, resolution: int, band_voxels: float, mapped: Callable[..., Iterable[Any]], slabs: int
) -> NarrowBand:
    """Compute the narrow band in slabs along x that can be processed concurrently.

    Args:
        mesh: Mesh in lattice units of this resolution.
        resolution: Cells per axis.
        band_voxels: Half width of the band in cells.
        mapped: `map`, or the `map` of a thread pool.
        slabs: Number of slabs.

    Returns:
        The narrow band, which does not depend on the number of slabs.

    Raises:
        ConfigError: The band width is not positive.
    """
    if not band_voxels > 0:
        raise ConfigError(f"band_voxels must be positive, got {band_voxels}")

    def slab(begin: int, end: int) -> Any:
        return scan_convert_mesh(*mesh, resolution, band_voxels, begin, end)

    cuts: list[int] = _slab_boundaries(mesh.vertices, mesh.faces, resolution, slabs).tolist()
    index, distance, face = (np.concatenate(arrays) for arrays in zip(*mapped(slab, cuts[:-1], cuts[1:]), strict=True))
    return NarrowBand(index, distance * np.float32(cell_size(resolution)), face)


def vertices_in_lattice_units(mesh: trimesh.Trimesh, resolution: int) -> Floats:
    """Vertices (V, 3) of a mesh in lattice units."""
    return to_lattice_units(np.ascontiguousarray(mesh.vertices, dtype=np.float64), resolution)


def _slab_boundaries(vertices: Floats, faces: Ints, resolution: int, count: int) -> Ints:
    """Boundaries (count + 1,) from 0 to R + 1 of slabs along x that contain about the same surface area."""
    corners = vertices[faces[:: max(1, len(faces) // _MAX_BALANCED_FACES)]]
    area = triangle_areas(corners)
    x = corners[:, :, 0].mean(1)
    order = np.argsort(x)
    share = np.cumsum(area[order]) / max(area.sum(), np.finfo(np.float64).tiny)
    inner = x[order][np.searchsorted(share, np.arange(1, count) / count).clip(max=len(x) - 1)]
    cuts = inner.astype(np.int64).clip(0, resolution + 1)
    return np.concatenate([[0], cuts, [resolution + 1]])
