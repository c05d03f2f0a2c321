"""Content of a mesh file: vertices, triangles, and notes on omitted parts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_files.polygons import triangulate
from latentsdf.utils.errors import MeshError


@dataclass(frozen=True)
class RawMesh:
    """Triangles of a file, in its frame and units, neither cleaned nor welded."""

    vertices: NDArray[np.float64]
    """(V, 3) positions."""
    faces: NDArray[np.int64]
    """(F, 3) indices of vertices, all in range."""
    notes: tuple[str, ...] = ()
    """Notes, one sentence each: what was left out, and where the mesh contradicts a comment in the file."""


def mesh_of_polygons(
    vertices: NDArray[np.float64], corners: NDArray[np.int64], counts: NDArray[np.int64], notes: tuple[str, ...] = ()
) -> RawMesh:
    """Split polygons into triangles.

    Args:
        vertices: (V, 3) positions.
        corners: (C,) indices of vertices, from 0, polygon after polygon.
        counts: (P,) numbers of corners; their sum is C.
        notes: Remarks to keep.

    Raises:
        MeshError: An index is out of range, or a polygon has too many corners.
    """
    require_indices(corners, len(vertices))
    small = int(((counts > 0) & (counts < 3)).sum())
    if small:
        notes = (*notes, f"{small:,} faces with fewer than 3 corners are left out")
    return RawMesh(vertices, triangulate(vertices, corners, counts), notes)


def require_indices(corners: NDArray[np.int64], vertex_count: int) -> None:
    """Raise MeshError if an index of a vertex is not in 0..vertex_count - 1."""
    if len(corners) and (corners.max() >= vertex_count or corners.min() < 0):
        wrong = corners.max() if corners.max() >= vertex_count else corners.min()
        raise MeshError(
            f"faces refer to vertex {wrong}, counted from 0, but there are {vertex_count:,} vertices; the file is "
            "damaged or truncated"
        )
