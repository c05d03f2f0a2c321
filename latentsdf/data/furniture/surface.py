"""The surface of a solid as a mesh that stays closed when vertices are rounded, welded, and flat faces dropped."""

import numpy as np
import trimesh
from manifold3d import Manifold
from numpy.typing import NDArray

DETAIL = 1e-4
"""Metres below which detail is merged: intersections leave short edges that mean nothing at furniture scale."""
FLAT = 1e-6
"""Metres: a triangle of less height counts as flat. Ten times the rounding of float32 at one metre."""


def surface(solid: Manifold) -> trimesh.Trimesh:
    """The boundary of a solid in float64: closed, normals outward, small detail and flat triangles gone."""
    data = solid.as_original().simplify(DETAIL).to_mesh64()
    vertices = np.array(data.vert_properties[:, :3])
    faces = collapse_short(vertices, np.array(data.tri_verts, dtype=np.int64))
    mesh = trimesh.Trimesh(vertices, flip_flat(vertices, faces), process=False)
    mesh.remove_unreferenced_vertices()
    return mesh


def collapse_short(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces (F', 3) without edges under `DETAIL`: the two ends become one vertex, and the two faces between them go.

    Manifold leaves such edges where two surfaces almost touch. One whose ends share more than two neighbours stays,
    since collapsing it would pinch the surface.
    """
    edges = np.sort(np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]]), axis=1)
    short = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) < DETAIL
    merged: dict[int, int] = {}
    for ends in np.unique(edges[short], axis=0).tolist():
        keep, drop = (merged.get(end, end) for end in ends)
        near_keep, near_drop = (set(faces[(faces == end).any(axis=1)].flat) for end in (keep, drop))
        if keep != drop and len(near_keep & near_drop) == 4:  # Both ends and the tips of the two faces.
            merged = {old: keep if new == drop else new for old, new in merged.items()} | {drop: keep}
            faces = np.where(faces == drop, keep, faces)
            faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return faces


def height(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """The smallest height of each triangle (F,), over its longest edge."""
    loops = vertices[faces]
    edges = np.roll(loops, -1, axis=1) - loops
    doubled = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    heights: NDArray[np.float64] = doubled / np.linalg.norm(edges, axis=2).max(axis=1)
    return heights


def flip_flat(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces (F, 3) with the longest edge of each flat triangle flipped; the surface and its topology stay as they are.

    A flat triangle is three vertices on one line. Dropping it, as any cleaning would, opens the mesh; flipping its
    longest edge splits the neighbour at the third vertex instead. A flip that would make an edge twice is left out.
    """
    flat: list[int] = np.flatnonzero(height(vertices, faces) < FLAT).tolist()
    if not flat:
        return faces
    faces = faces.copy()
    owner = {(face[i], face[i - 2]): row for row, face in enumerate(faces.tolist()) for i in range(3)}
    for _ in range(4 * len(flat)):  # A flip can leave the neighbour flat, where four vertices share a line.
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
        flat += [f for f in (row, other) if height(vertices, faces[f : f + 1])[0] < FLAT]
    return faces
