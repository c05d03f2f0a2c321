"""The side of a closed, consistently oriented mesh by angle-weighted pseudonormals (Baerentzen & Aanaes 2005)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.adjacency import adjacency
from latentsdf.geometry.mesh_sdf.triangles import point_triangle
from latentsdf.geometry.mesh_sdf.vector3 import Vector, cross, dot, minus, row, times
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PseudonormalRule:
    """The side of the closest face, edge or vertex that its angle-weighted normal points away from."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self.faces = np.ascontiguousarray(faces)
        self.corners = vertices[faces]
        self.normals = _pseudonormals(vertices, self.faces, *adjacency(self.faces, len(vertices))[:3])

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Inside (N,) for points (N, 3) with closest faces (N,)."""
        inside: NDArray[np.bool_] = _inside(points, face, self.corners, self.faces, *self.normals)
        return inside


@compiled(nogil=True)
def _unit(a: Vector) -> Vector:
    """The direction of a, or 0."""
    length = np.sqrt(dot(a, a))
    return times(a, 1 / length) if length > 0 else (0.0, 0.0, 0.0)


@compiled(nogil=True)
def _add(table: Floats, i: int, a: Vector) -> None:
    table[i, 0] += a[0]
    table[i, 1] += a[1]
    table[i, 2] += a[2]


@compiled(nogil=True)
def _pseudonormals(vertices: Floats, faces: Ints, edges: Ints, edge_start: Ints, edge_faces: Ints) -> Any:
    """Normals of the faces (F, 3), of each face's edges (F, 3, 3) and of the vertices (V, 3); any length but 0."""
    of_face = np.zeros((len(faces), 3))
    of_edge = np.zeros((len(faces), 3, 3))
    of_vertex = np.zeros((len(vertices), 3))
    for f in range(len(faces)):
        a, b, c = row(vertices, faces[f, 0]), row(vertices, faces[f, 1]), row(vertices, faces[f, 2])
        normal = _unit(cross(minus(b, a), minus(c, a)))
        _add(of_face, f, normal)
        for s in range(3):
            u, v = minus(b, a), minus(c, a)
            sine = cross(u, v)
            _add(of_vertex, faces[f, s], times(normal, np.arctan2(np.sqrt(dot(sine, sine)), dot(u, v))))
            a, b, c = b, c, a
    total = np.zeros((1, 3))
    for e in range(len(edges)):
        total[:] = 0
        for q in range(edge_start[e], edge_start[e + 1]):
            _add(total, 0, row(of_face, edge_faces[q]))
        for q in range(edge_start[e], edge_start[e + 1]):
            f = edge_faces[q]
            for s in range(3):
                one, other = faces[f, s], faces[f, (s + 1) % 3]
                if min(one, other) == edges[e, 0] and max(one, other) == edges[e, 1]:
                    of_edge[f, s] = total[0]
    return of_face, of_edge, of_vertex


@compiled(nogil=True)
def _inside(points: Any, face: Any, corners: Any, faces: Any, of_face: Any, of_edge: Any, of_vertex: Any) -> Any:
    inside = np.empty(len(points), dtype=np.bool_)
    for q in range(len(points)):
        f = face[q]
        p = row(points, q)
        _, where, x, y, z = point_triangle(p[0], p[1], p[2], corners, f)
        if where == 6:
            n = row(of_face, f)
        elif where >= 3:
            n = row(of_edge[f], where - 3)
        else:
            n = row(of_vertex, faces[f, where])
        inside[q] = dot(minus(p, (x, y, z)), n) < 0
    return inside
