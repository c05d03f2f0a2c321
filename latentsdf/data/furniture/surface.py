"""Conversion of a solid to a mesh without short edges and flat triangles.

Such a mesh stays closed when its vertices are rounded to float32 and merged, and degenerate faces are removed.
"""

import numpy as np
import trimesh
from manifold3d import Manifold
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

DETAIL = 1e-4
"""Edges shorter than this length in meters are collapsed. They result from the intersection of solids."""
FLAT = 1e-6
"""Triangles of a smaller height in meters are flat. Ten times the rounding error of float32 at one meter."""


def boundary_mesh(solid: Manifold) -> trimesh.Trimesh:
    """Convert the boundary of a solid to a closed float64 mesh with outward normals, without detail below `DETAIL`.

    Voids are filled: small ones remain where parts meet, and nothing outside depends on them.
    """
    data = solid.as_original().simplify(DETAIL).to_mesh64()
    vertices = np.array(data.vert_properties[:, :3])
    faces = collapse_short_edges(vertices, np.array(data.tri_verts, dtype=np.int64))
    faces = without_voids(vertices, flip_flat_triangles(vertices, faces))
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.remove_unreferenced_vertices()
    return mesh


def without_voids(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces (F', 3) of the closed surfaces that face outward; the boundary of a void has a negative signed volume."""
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = coo_matrix((np.ones(len(ends), np.int8), ends.T), shape=(len(vertices),) * 2)
    label = connected_components(graph, directed=False)[1][faces[:, 0]]
    volume = np.einsum("fi,fi->f", vertices[faces[:, 0]], np.cross(vertices[faces[:, 1]], vertices[faces[:, 2]]))
    outward: NDArray[np.bool_] = np.bincount(label, weights=volume) > 0
    return faces[outward[label]]


def collapse_short_edges(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Collapse edges shorter than `DETAIL`, which Manifold leaves where two surfaces almost touch.

    An edge is kept if its ends share more than two neighbors (link condition): its collapse would pinch the surface.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) triangles.

    Returns:
        Triangles (F', 3) with the same vertex array.
    """
    edges = np.sort(np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]]), axis=1)
    short = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) < DETAIL
    merged: dict[int, int] = {}
    for ends in np.unique(edges[short], axis=0).tolist():
        keep, drop = (merged.get(end, end) for end in ends)
        near_keep, near_drop = (set(faces[(faces == end).any(axis=1)].flat) for end in (keep, drop))
        # The four common vertices are both ends and the opposite vertices of the two faces at the edge.
        if keep != drop and len(near_keep & near_drop) == 4:
            merged = {old: keep if new == drop else new for old, new in merged.items()} | {drop: keep}
            faces = np.where(faces == drop, keep, faces)
            faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return faces


def triangle_heights(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Smallest height (F,) of each triangle, which is perpendicular to the longest edge."""
    loops = vertices[faces]
    edges = np.roll(loops, -1, axis=1) - loops
    doubled = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    heights: NDArray[np.float64] = doubled / np.linalg.norm(edges, axis=2).max(axis=1)
    return heights


def flip_flat_triangles(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flip the longest edge of each flat triangle, which preserves the surface and its topology.

    The vertices of a flat triangle are collinear. Removing the triangle would open the mesh; the flip splits the
    neighbor across the longest edge at the third vertex instead. A flip that would create an existing edge is skipped.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) triangles of a closed mesh.

    Returns:
        Triangles (F, 3).
    """
    flat: list[int] = np.flatnonzero(triangle_heights(vertices, faces) < FLAT).tolist()
    if not flat:
        return faces
    faces = faces.copy()
    owner = {(face[i], face[i - 2]): row for row, face in enumerate(faces.tolist()) for i in range(3)}
    for _ in range(4 * len(flat)):  # A flip can make the neighbor flat, if four vertices are collinear.
        if not flat:
            break
        row = flat.pop(0)
        loop = vertices[faces[row]]
        start = int(np.argmax(np.linalg.norm(loop - np.roll(loop, -1, axis=0), axis=1)))
        a, b, c = np.roll(faces[row], -start).tolist()
        other = owner[b, a]
        d = next(v for v in faces[other].tolist() if v not in (a, b))
        if (c, d) in owner or (d, c) in owner:
            continue
        faces[row], faces[other] = (a, d, c), (d, b, c)
        del owner[a, b], owner[b, a]
        owner.update({(a, d): row, (d, c): row, (c, a): row, (d, b): other, (b, c): other, (c, d): other})
        flat = [f for f in flat if f != other]
        flat += [f for f in (row, other) if triangle_heights(vertices, faces[f : f + 1])[0] < FLAT]
    return faces
