"""Small facts about triangles: areas, normals, angles, points on them, the distance to one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.vector3 import cross, dot, minus, row, times
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def area_of(corners: Floats) -> Floats:
    """Areas (F,) of triangles (F, 3, 3)."""
    area: Floats = _areas_and_normals(corners)[0]
    return area


def normals_of(corners: Floats) -> Floats:
    """Unit normals (F, 3) of triangles (F, 3, 3), zero for those without area."""
    normal: Floats = _areas_and_normals(corners)[1]
    return normal


@compiled(nogil=True)
def _areas_and_normals(corners: Floats) -> Any:
    area, normal = np.empty(len(corners)), np.zeros((len(corners), 3))
    for f in range(len(corners)):
        a, b, c = row(corners[f], 0), row(corners[f], 1), row(corners[f], 2)
        n = cross(minus(b, a), minus(c, a))
        length = np.sqrt(dot(n, n))
        area[f] = length / 2
        if length > 0:
            normal[f, 0], normal[f, 1], normal[f, 2] = times(n, 1 / length)
    return area, normal


@compiled(nogil=True)
def areas_and_volume(vertices: Floats, faces: Ints, center: Floats) -> Any:
    """Areas (F,), and the signed volume that faces (F, 3) enclose with a center (3,), positive if they face away."""
    area, total = np.empty(len(faces)), 0.0
    middle = (center[0], center[1], center[2])
    for f in range(len(faces)):
        a = minus(row(vertices, faces[f, 0]), middle)
        b = minus(row(vertices, faces[f, 1]), middle)
        c = minus(row(vertices, faces[f, 2]), middle)
        n = cross(minus(b, a), minus(c, a))
        area[f] = np.sqrt(dot(n, n)) / 2
        total += dot(a, n)  # n is b x c plus what is perpendicular to a
    return area, total / 6


def corner_sets(faces: Ints, vertex_count: int) -> Ints:
    """A number for each face (F,), the same for two faces if they have the same corners in any order."""
    if vertex_count < 2**21:
        numbers: Ints = _packed_corners(faces)
        return numbers
    return np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


@compiled(nogil=True)
def _packed_corners(faces: Ints) -> Ints:
    packed = np.empty(len(faces), np.int64)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        low, high = min(a, b, c), max(a, b, c)
        packed[f] = (low << 42) | ((a + b + c - low - high) << 21) | high
    return packed


def spread(corners: Floats, per_face: int, more: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Random points (P, 3) on the triangles (F, 3, 3) and their triangles (P,), in order: `per_face` on each, and
    about `more` besides, by area, so that large triangles get many.
    """
    area = area_of(corners)
    count = per_face + np.round(more * area / area.sum()).astype(np.int64)
    owner = np.repeat(np.arange(len(corners)), count)
    weight = rng.dirichlet((1.5, 1.5, 1.5), len(owner))
    return np.einsum("pc,pcx->px", weight, corners[owner]), owner


@compiled(nogil=True, error_model="numpy", forceinline=True)
def point_triangle(px: float, py: float, pz: float, corners: Floats, f: int) -> tuple[float, int, float, float, float]:
    """Squared distance from p to triangle f of corners (F, 3, 3), where its closest point lies, and that point.

    Where: 0-2 at that corner, 3-5 on the edge from corner (where - 3) to the next, 6 inside.
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
    best, where = np.inf, 0
    x = y = z = 0.0
    for s in range(3):
        e = (s + 1) % 3
        sx, sy, sz = corners[f, s, 0], corners[f, s, 1], corners[f, s, 2]
        dx, dy, dz = corners[f, e, 0] - sx, corners[f, e, 1] - sy, corners[f, e, 2] - sz
        length = dx * dx + dy * dy + dz * dz
        h = 0.0
        if length > 0:
            h = ((px - sx) * dx + (py - sy) * dy + (pz - sz) * dz) / length
        region = s + 3
        if h <= 0:
            h, region = 0.0, s
        elif h >= 1:
            h, region = 1.0, e
        cx, cy, cz = sx + h * dx, sy + h * dy, sz + h * dz
        squared = (px - cx) ** 2 + (py - cy) ** 2 + (pz - cz) ** 2
        if squared < best:
            best, where, x, y, z = squared, region, cx, cy, cz
    return best, where, x, y, z
