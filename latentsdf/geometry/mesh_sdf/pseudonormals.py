"""Inside test of a closed, consistently oriented mesh by angle-weighted pseudonormals (Baerentzen and Aanaes 2005).

Let c be the point of the mesh closest to a query p, and n_f the unit normal of face f, pointing outward. The
pseudonormal at c depends on the feature that c lies on:

    face f       n = n_f
    edge e       n = sum of n_f over the faces f incident to e
    vertex v     n = sum of alpha_f n_f over the faces f incident to v, alpha_f = angle of f at v

p is inside if and only if (p - c) . n < 0. Only the sign is needed, so the sums are not normalized. The test is exact
if the mesh is closed, consistently oriented and free of self-intersections.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.adjacency import build_adjacency
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.geometry.mesh_sdf.vector3 import Vector3, cross, dot, row, scale, subtract
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PseudonormalRule:
    """Sign rule: inside where the pseudonormal of the closest feature points away from the query."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        """Compute the pseudonormals of welded vertices (V, 3) and faces (F, 3)."""
        self.faces = np.ascontiguousarray(faces)
        self.corners = vertices[faces]
        self.normals = _pseudonormals(vertices, self.faces, *build_adjacency(self.faces, len(vertices))[:3])

    def __call__(self, points: Floats, face: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """True for points (N, 3) inside, shape (N,), given their closest faces (N,)."""
        inside: NDArray[np.bool_] = _inside(points, face, self.corners, self.faces, *self.normals)
        return inside


@compiled(nogil=True)
def _normalize(a: Vector3) -> Vector3:
    """Unit vector along a; zero for a zero vector."""
    length = np.sqrt(dot(a, a))
    return scale(a, 1 / length) if length > 0 else (0.0, 0.0, 0.0)


@compiled(nogil=True)
def _add_to_row(table: Floats, i: int, a: Vector3) -> None:
    table[i, 0] += a[0]
    table[i, 1] += a[1]
    table[i, 2] += a[2]


@compiled(nogil=True)
def _pseudonormals(vertices: Floats, faces: Ints, edges: Ints, edge_start: Ints, edge_faces: Ints) -> Any:
    """Unnormalized pseudonormals of the faces (F, 3), of the edges of each face (F, 3, 3) and of the vertices (V, 3).

    Edge s of a face runs from its corner s to the next corner.
    """
    of_face = np.zeros((len(faces), 3))
    of_edge = np.zeros((len(faces), 3, 3))
    of_vertex = np.zeros((len(vertices), 3))
    for f in range(len(faces)):
        a, b, c = row(vertices, faces[f, 0]), row(vertices, faces[f, 1]), row(vertices, faces[f, 2])
        normal = _normalize(cross(subtract(b, a), subtract(c, a)))
        _add_to_row(of_face, f, normal)
        for s in range(3):
            u, v = subtract(b, a), subtract(c, a)
            sine = cross(u, v)
            angle = np.arctan2(np.sqrt(dot(sine, sine)), dot(u, v))
            _add_to_row(of_vertex, faces[f, s], scale(normal, angle))
            a, b, c = b, c, a
    total = np.zeros((1, 3))
    for e in range(len(edges)):
        total[0, 0] = total[0, 1] = total[0, 2] = 0.0
        for q in range(edge_start[e], edge_start[e + 1]):
            _add_to_row(total, np.int64(0), row(of_face, edge_faces[q]))
        for q in range(edge_start[e], edge_start[e + 1]):
            f = edge_faces[q]
            for s in range(3):
                a, b = faces[f, s], faces[f, (s + 1) % 3]
                if min(a, b) == edges[e, 0] and max(a, b) == edges[e, 1]:
                    for axis in range(3):
                        of_edge[f, s, axis] = total[0, axis]
    return of_face, of_edge, of_vertex


@compiled(nogil=True)
def _inside(points: Any, face: Any, corners: Any, faces: Any, of_face: Any, of_edge: Any, of_vertex: Any) -> Any:
    """Evaluate (p - c) . n < 0 for each point."""
    inside = np.empty(len(points), dtype=np.bool_)
    for q in range(len(points)):
        f = face[q]
        p = row(points, q)
        _, feature, x, y, z = closest_point_on_triangle(p[0], p[1], p[2], corners, f)
        if feature == 6:
            n = row(of_face, f)
        elif feature >= 3:
            n = row(of_edge[f], feature - 3)
        else:
            n = row(of_vertex, faces[f, feature])
        inside[q] = dot(subtract(p, (x, y, z)), n) < 0
    return inside
