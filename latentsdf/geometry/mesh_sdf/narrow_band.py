"""Distances from a triangle mesh to the vertices of a regular lattice near it, without a tree query per vertex.

Unsigned; lengths come in and go out in model space [-1, 1]^3, the kernels work in cells. Vertex (i, j, k) of a lattice
with R cells per axis has linear index (i * (R + 1) + j) * (R + 1) + k and lies at -1 + 2 (i, j, k) / R.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.geometry.lattice import cell_size, check_resolution, to_lattice_units
from latentsdf.geometry.mesh_sdf.adjacency import adjacency
from latentsdf.geometry.mesh_sdf.closest_point_transform import frames, scan_mesh
from latentsdf.geometry.mesh_sdf.triangles import area_of
from latentsdf.utils.errors import ConfigError

_FACES_WEIGHED = 20_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LatticeBand:
    """The lattice vertices near a surface: sorted linear index, unsigned distance, closest face; (B,) each."""

    index: NDArray[np.uint32]
    distance: NDArray[np.float32]
    face: NDArray[np.int32]


class Surface(NamedTuple):
    """A mesh on a lattice: vertices (V, 3) in cells, faces (F, 3) with frames as `frames` gives them, and what meets
    where, as `adjacency` gives it.
    """

    vertices: Floats
    faces: Ints
    normal: Floats
    outward: Floats
    good: NDArray[np.bool_]
    edges: Ints
    edge_start: Ints
    edge_faces: Ints
    vertex_start: Ints
    vertex_next: Ints

    @staticmethod
    def on_lattice(mesh: trimesh.Trimesh, resolution: int, mapped: Callable[..., Iterable[Any]] = map) -> "Surface":
        """Raises ConfigError for a resolution outside 1..1624; `mapped` may be the `map` of a pool of threads."""
        check_resolution(resolution)
        vertices, faces = in_cells(mesh, resolution), np.ascontiguousarray(mesh.faces, dtype=np.int64)
        parts = (lambda: frames(vertices, faces)), (lambda: adjacency(faces, len(vertices)))
        framed, adjacent = mapped(lambda part: part(), parts)
        return Surface(vertices, faces, *framed, *adjacent)


def narrow_band(mesh: trimesh.Trimesh, resolution: int, band_voxels: float) -> LatticeBand:
    """All lattice vertices within `band_voxels` cells of the mesh, with exact distances (float32 rounding).

    Time and memory follow the band, not the box. Raises ConfigError for a resolution outside 1..1624 or a band that is
    not positive.
    """
    return band_in_slabs(Surface.on_lattice(mesh, resolution), resolution, band_voxels, map, 1)


def band_in_slabs(
    surface: Surface, resolution: int, band_voxels: float, mapped: Callable[..., Iterable[Any]], slabs: int
) -> LatticeBand:
    """The same from so many slabs along x, which `mapped`, a pool's `map`, may work on side by side."""
    if not band_voxels > 0:
        raise ConfigError(f"band_voxels must be positive, got {band_voxels}.")

    def slab(begin: int, end: int) -> Any:
        return scan_mesh(*surface, resolution, band_voxels, begin, end)

    cuts = _slabs(surface.vertices, surface.faces, resolution, slabs)
    index, distance, face = (np.concatenate(arrays) for arrays in zip(*mapped(slab, cuts[:-1], cuts[1:]), strict=True))
    return LatticeBand(index, distance * np.float32(cell_size(resolution)), face)


def in_cells(mesh: trimesh.Trimesh, resolution: int) -> Floats:
    """The mesh's vertices (V, 3) where lattice vertices have whole numbers."""
    return to_lattice_units(np.ascontiguousarray(mesh.vertices, dtype=np.float64), resolution)


def _slabs(vertices: Floats, faces: Ints, resolution: int, count: int) -> Ints:
    """Ends of slabs along x that hold about the same area each; the first begins at 0, the last ends at R + 1."""
    corners = vertices[faces[:: max(1, len(faces) // _FACES_WEIGHED)]]
    area = area_of(corners)
    x = corners[:, :, 0].mean(1)
    order = np.argsort(x)
    share = np.cumsum(area[order]) / max(area.sum(), np.finfo(np.float64).tiny)
    inner = x[order][np.searchsorted(share, np.arange(1, count) / count).clip(max=len(x) - 1)]
    cuts = inner.astype(np.int64).clip(0, resolution + 1)
    return np.concatenate([[0], cuts, [resolution + 1]])
