"""Areas, normals, random points and closest points of triangles.

Triangles come as corners (F, 3, 3) or as vertices (V, 3) with faces (F, 3). Normals follow the right-hand rule,
n = (b - a) x (c - a) for corners a, b, c.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.vector3 import cross, dot, row, scale, subtract
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def triangle_areas(corners: Floats) -> Floats:
    """Areas (F,) of triangles with corners (F, 3, 3)."""
    area: Floats = _areas_and_normals(corners)[0]
    return area


def triangle_normals(corners: Floats) -> Floats:
    """Unit normals (F, 3) of triangles with corners (F, 3, 3); zero for degenerate triangles."""
    normal: Floats = _areas_and_normals(corners)[1]
    return normal


@compiled(nogil=True)
def _areas_and_normals(corners: Floats) -> Any:
    area, normal = np.empty(len(corners)), np.zeros((len(corners), 3))
    for f in range(len(corners)):
        a, b, c = row(corners[f], 0), row(corners[f], 1), row(corners[f], 2)
        n = cross(subtract(b, a), subtract(c, a))
        length = np.sqrt(dot(n, n))
        area[f] = length / 2
        if length > 0:
            normal[f, 0], normal[f, 1], normal[f, 2] = scale(n, 1 / length)
    return area, normal


@compiled(nogil=True)
def areas_and_signed_volume(vertices: Floats, faces: Ints, center: Floats) -> Any:
    """Areas (F,) of faces (F, 3), and the signed volume between the faces and a center (3,).

    V = sum over faces of (a - m) . ((b - a) x (c - a)) / 6 with the center m, positive if the faces face away from m.
    The volume of a closed mesh does not depend on m.
    """
    area, total = np.empty(len(faces)), 0.0
    m = (center[0], center[1], center[2])
    for f in range(len(faces)):
        a = subtract(row(vertices, faces[f, 0]), m)
        b = subtract(row(vertices, faces[f, 1]), m)
        c = subtract(row(vertices, faces[f, 2]), m)
        n = cross(subtract(b, a), subtract(c, a))
        area[f] = np.sqrt(dot(n, n)) / 2
        total += dot(a, n)  # equals a . (b x c): the other terms of n are perpendicular to a
    return area, total / 6


def corner_set_ids(faces: Ints, vertex_count: int) -> Ints:
    """Identifiers (F,) of the faces, equal for two faces if and only if these have the same corners in any order."""
    if vertex_count < 2**21:
        packed: Ints = _packed_corners(faces)
        return packed
    return np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


@compiled(nogil=True)
def _packed_corners(faces: Ints) -> Ints:
    """Sorted vertex indices of each face, packed into one integer with 21 bits each."""
    packed = np.empty(len(faces), np.int64)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        low, high = min(a, b, c), max(a, b, c)
        packed[f] = (low << 42) | ((a + b + c - low - high) << 21) | high
    return packed


def sample_triangles(corners: Floats, per_face: int, by_area: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Draw random points on triangles: a fixed number on each, and additional points in proportion to area.

    Args:
        corners: Triangles (F, 3, 3).
        per_face: Points on each triangle, independent of its area.
        by_area: Approximate number of additional points, distributed by area.
        rng: Source of the barycentric coordinates, which follow a Dirichlet distribution (1.5, 1.5, 1.5).

    Returns:
        Points (P, 3) and the triangle (P,) of each, in ascending order.
    """
    area = triangle_areas(corners)
    count = per_face + np.round(by_area * area / area.sum()).astype(np.int64)
    owner = np.repeat(np.arange(len(corners)), count)
    weight = rng.dirichlet((1.5, 1.5, 1.5), len(owner))
    return np.einsum("pc,pcx->px", weight, corners[owner]), owner


@compiled(nogil=True, error_model="numpy", forceinline=True)
def closest_point_on_triangle(
    px: float, py: float, pz: float, corners: Floats, f: int
) -> tuple[float, int, float, float, float]:
    """Closest point to p on triangle f of corners (F, 3, 3).

    Projects p onto the plane of the triangle, p' = a + alpha u + beta v with edges u = b - a and v = c - a. If alpha >
    0, beta > 0 and alpha + beta < 1, the closest point is p'. Otherwise, and for degenerate triangles, it is the
    closest of the closest points on the three edges.

    Returns:
        The squared distance; the feature that the closest point lies on (0..2: corner, 3..5: edge from corner
        `feature - 3` to the next corner, 6: interior); and the coordinates of the closest point.
    """
    ax, ay, az = corners[f, 0, 0], corners[f, 0, 1], corners[f, 0, 2]
    ux, uy, uz = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay, corners[f, 1, 2] - az
    vx, vy, vz = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay, corners[f, 2, 2] - az
    wx, wy, wz = px - ax, py - ay, pz - az
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    wu, wv = wx * ux + wy * uy + wz * uz, wx * vx + wy * vy + wz * vz
    determinant = uu * vv - uv * uv
    if determinant > 1e-14 * uu * vv:
        a, b = (vv * wu - uv * wv) / determinant, (uu * wv - uv * wu) / determinant
        if a > 0 and b > 0 and a + b < 1:
            x, y, z = ax + a * ux + b * vx, ay + a * uy + b * vy, az + a * uz + b * vz
            return (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2, 6, x, y, z
    best, feature = np.inf, 0
    x = y = z = 0.0
    for s in range(3):
        e = (s + 1) % 3
        sx, sy, sz = corners[f, s, 0], corners[f, s, 1], corners[f, s, 2]
        dx, dy, dz = corners[f, e, 0] - sx, corners[f, e, 1] - sy, corners[f, e, 2] - sz
        length = dx * dx + dy * dy + dz * dz
        h = 0.0
        if length > 0:
            h = ((px - sx) * dx + (py - sy) * dy + (pz - sz) * dz) / length
        candidate = s + 3
        if h <= 0:
            h, candidate = 0.0, s
        elif h >= 1:
            h, candidate = 1.0, e
        cx, cy, cz = sx + h * dx, sy + h * dy, sz + h * dz
        squared = (px - cx) ** 2 + (py - cy) ** 2 + (pz - cz) ** 2
        if squared < best:
            best, feature, x, y, z = squared, candidate, cx, cy, cz
    return best, feature, x, y, z


@compiled(nogil=True, error_model="numpy")
def distance_to_faces(points: Floats, face: Any, corners: Floats) -> Any:
    """Distance (N,) from points (N, 3) to one triangle each, `face` (N,) of corners (F, 3, 3); 0 if the face is -1."""
    distance = np.zeros(len(points))
    for n in range(len(points)):
        if face[n] >= 0:
            squared, _, _, _, _ = closest_point_on_triangle(points[n, 0], points[n, 1], points[n, 2], corners, face[n])
            distance[n] = np.sqrt(squared)
    return distance
