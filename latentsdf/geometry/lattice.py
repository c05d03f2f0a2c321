"""Exact distances on lattices, computed lattice-wise: triangles are visited and update the lattice vertices near them.

Conventions: a lattice with R cells per axis has vertex (i, j, k) at -1 + 2 (i, j, k) / R and linear index
(i (R + 1) + j) (R + 1) + k. Inside the kernels lengths are in cells. Band storage is 8^3 blocks allocated where a
triangle can reach, so memory follows the surface and not the volume.
"""

from dataclasses import dataclass

import numba
import numpy as np
import trimesh
from jaxtyping import Float, Int32, UInt32
from numpy.typing import NDArray

_BLOCK = 8


@dataclass(frozen=True)
class LatticeBand:
    """Lattice vertices near a surface: sorted linear `index`, unsigned `distance` in model space, closest `face`."""

    index: UInt32[NDArray[np.uint32], " B"]
    distance: Float[NDArray[np.float32], " B"]
    face: Int32[NDArray[np.int32], " B"]


def narrow_band(mesh: trimesh.Trimesh, resolution: int, width: float) -> LatticeBand:
    """Every lattice vertex within `width` cells of the surface, with its exact distance (float64 inside).

    The set is complete for triangles of any size, unlike seeding from mesh vertices (Compact-SDF, METHODS 1.3).
    Cost grows with the band points, each visited by the triangles within `width` of it.
    """
    triangles = _to_cells(mesh, resolution)
    side = resolution + 1
    blocks = -(-side // _BLOCK)
    slots = np.full((blocks, blocks, blocks), -1, dtype=np.int32)
    count = _mark_blocks(triangles, slots, side, float(width))
    squared = np.full((count, _BLOCK**3), np.inf)
    face = np.full((count, _BLOCK**3), -1, dtype=np.int32)
    _scatter(triangles, slots, side, float(width), squared, face)
    index, distance, faces = _collect(slots, squared, face, side, float(width) ** 2)
    return LatticeBand(index, (distance * (2 / resolution)).astype(np.float32), faces)


def full_lattice(
    mesh: trimesh.Trimesh, resolution: int
) -> tuple[Float[NDArray[np.float32], "N N N"], Int32[NDArray[np.int32], "N N N"]]:
    """Unsigned distance and closest face on all (R + 1)^3 lattice vertices.

    Seeds are exact within two cells of the surface; closest faces then propagate outward by sweeping in the eight
    directions, each candidate's distance evaluated exactly. A vertex whose closest face is closest to none of its
    neighbours can miss it: measured on the Armadillo at 128^3, see tests, the error stays below 1e-3 of a cell for
    all but a few vertices in a million.
    """
    triangles = _to_cells(mesh, resolution)
    side = resolution + 1
    band = narrow_band(mesh, resolution, 2.0)
    squared = np.full(side**3, np.inf)
    face = np.full(side**3, -1, dtype=np.int32)
    squared[band.index] = (band.distance.astype(np.float64) * (resolution / 2)) ** 2
    face[band.index] = band.face
    shape = (side, side, side)
    squared, face = squared.reshape(shape), face.reshape(shape)
    for _ in range(2):
        _sweep(triangles, squared, face)
    return (np.sqrt(squared) * (2 / resolution)).astype(np.float32), face


def lattice_points(index: NDArray[np.integer], resolution: int) -> Float[NDArray[np.float32], "N 3"]:
    """Model-space positions of lattice vertices given by linear index."""
    side = resolution + 1
    linear = np.asarray(index, dtype=np.uint32)
    plane, k = np.divmod(linear, np.uint32(side))
    i, j = np.divmod(plane, np.uint32(side))
    points = np.empty((len(linear), 3), dtype=np.float32)
    points[:, 0], points[:, 1], points[:, 2] = i, j, k
    points *= np.float32(2 / resolution)
    points -= np.float32(1)
    return points


def surface_free_groups(
    index: UInt32[NDArray[np.uint32], " B"], distance: Float[NDArray[np.float32], " B"], resolution: int
) -> NDArray[np.int32]:
    """Label lattice vertices (sorted linear index) so that equal labels are joined by edges no surface crosses.

    A surface point on the edge between neighbours a and b would make d_a + d_b at most the edge's length.
    """
    reach = np.asarray(distance, dtype=np.float64) * (resolution / 2)
    groups: NDArray[np.int32] = _join(np.asarray(index, dtype=np.int64), reach, resolution + 1)
    return groups


def pseudonormal_signs(
    mesh: trimesh.Trimesh, points: Float[NDArray[np.float64], "N 3"], face: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """True inside, by the angle-weighted pseudonormal of the closest feature (Baerentzen & Aanaes 2005).

    `face` is the closest face of each point. Right for closed, consistently oriented meshes.
    """
    edge_normals = _edge_normals(mesh)
    return _inside_by_pseudonormal(
        np.asarray(points, dtype=np.float64),
        np.asarray(face),
        np.ascontiguousarray(mesh.triangles, dtype=np.float64),
        np.asarray(mesh.faces, dtype=np.int64),
        np.ascontiguousarray(mesh.face_normals, dtype=np.float64),
        edge_normals,
        _vertex_normals(mesh),
    )


def _to_cells(mesh: trimesh.Trimesh, resolution: int) -> NDArray[np.float64]:
    return np.ascontiguousarray((np.asarray(mesh.triangles, dtype=np.float64) + 1) * (resolution / 2))


def _edge_normals(mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    """Sum of the two face normals at each edge of each face: (F, 3, 3), edge e from corner e to e + 1."""
    unique_of_edge = mesh.edges_unique_inverse
    sums = np.zeros((len(mesh.edges_unique), 3))
    np.add.at(sums, unique_of_edge, np.repeat(mesh.face_normals, 3, axis=0))
    return np.ascontiguousarray(sums[unique_of_edge].reshape(-1, 3, 3))


def _vertex_normals(mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    sums = np.zeros((len(mesh.vertices), 3))
    weighted = mesh.face_normals[:, None, :] * mesh.face_angles[:, :, None]
    np.add.at(sums, mesh.faces.ravel(), weighted.reshape(-1, 3))
    return sums


@numba.njit(cache=True, inline="always")
def _closest(px, py, pz, t):  # type: ignore[no-untyped-def]
    """Squared distance to a triangle, the feature (0 face, 1-3 edges 01 12 20, 4-6 corners), and the closest point.

    Ericson, Real-Time Collision Detection, 5.1.5.
    """
    abx, aby, abz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    acx, acy, acz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    apx, apy, apz = px - t[0, 0], py - t[0, 1], pz - t[0, 2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    ab_ab = abx * abx + aby * aby + abz * abz
    ab_ac = abx * acx + aby * acy + abz * acz
    ac_ac = acx * acx + acy * acy + acz * acz
    d3, d4 = d1 - ab_ab, d2 - ab_ac
    d5, d6 = d1 - ab_ac, d2 - ac_ac
    vc = d1 * d4 - d3 * d2
    vb = d5 * d2 - d1 * d6
    va = d3 * d6 - d5 * d4
    if d1 <= 0 and d2 <= 0:
        feature, v, w = 4, 0.0, 0.0
    elif d3 >= 0 and d4 <= d3:
        feature, v, w = 5, 1.0, 0.0
    elif d6 >= 0 and d5 <= d6:
        feature, v, w = 6, 0.0, 1.0
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        feature, v, w = 1, d1 / (d1 - d3), 0.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        feature, v, w = 3, 0.0, d2 / (d2 - d6)
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        feature, v = 2, 1 - w
    else:
        total = va + vb + vc
        feature, v, w = 0, vb / total, vc / total
    rx, ry, rz = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return rx * rx + ry * ry + rz * rz, feature, rx, ry, rz


@numba.njit(cache=True)
def _plane(t):  # type: ignore[no-untyped-def]
    """Unit normal and offset of a triangle's plane; a zero normal for a degenerate triangle."""
    ux, uy, uz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    vx, vy, vz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    if length < 1e-30:
        return 0.0, 0.0, 0.0, 0.0
    nx, ny, nz = nx / length, ny / length, nz / length
    return nx, ny, nz, nx * t[0, 0] + ny * t[0, 1] + nz * t[0, 2]


@numba.njit(cache=True)
def _reach(t, axis, width, side):  # type: ignore[no-untyped-def]
    """First and last lattice coordinate on one axis that a triangle can reach."""
    low = min(t[0, axis], t[1, axis], t[2, axis]) - width
    high = max(t[0, axis], t[1, axis], t[2, axis]) + width
    return max(0, int(np.ceil(low))), min(side - 1, int(np.floor(high)))


@numba.njit(cache=True)
def _block_is_near(bi, bj, bk, nx, ny, nz, offset, width):  # type: ignore[no-untyped-def]
    """Whether the block's bounding ball meets the slab of the given half width around the triangle's plane."""
    half = (_BLOCK - 1) / 2
    distance = nx * (bi * _BLOCK + half) + ny * (bj * _BLOCK + half) + nz * (bk * _BLOCK + half) - offset
    return abs(distance) <= width + half * (abs(nx) + abs(ny) + abs(nz))


@numba.njit(cache=True)
def _mark_blocks(triangles, slots, side, width):  # type: ignore[no-untyped-def]
    """Number the blocks that any triangle can reach; returns how many."""
    count = 0
    for f in range(len(triangles)):
        t = triangles[f]
        nx, ny, nz, offset = _plane(t)
        i0, i1 = _reach(t, 0, width, side)
        j0, j1 = _reach(t, 1, width, side)
        k0, k1 = _reach(t, 2, width, side)
        for bi in range(i0 // _BLOCK, i1 // _BLOCK + 1):
            for bj in range(j0 // _BLOCK, j1 // _BLOCK + 1):
                for bk in range(k0 // _BLOCK, k1 // _BLOCK + 1):
                    if slots[bi, bj, bk] < 0 and _block_is_near(bi, bj, bk, nx, ny, nz, offset, width):
                        slots[bi, bj, bk] = count
                        count += 1
    return count


@numba.njit(cache=True)
def _scatter(triangles, slots, side, width, squared, face):  # type: ignore[no-untyped-def]
    """Minimum over triangles of the squared distance at the lattice vertices within `width` of each."""
    limit = width * width
    for f in range(len(triangles)):
        t = triangles[f]
        nx, ny, nz, offset = _plane(t)
        i0, i1 = _reach(t, 0, width, side)
        j0, j1 = _reach(t, 1, width, side)
        k0, k1 = _reach(t, 2, width, side)
        cx, cy, cz = (t[0] + t[1] + t[2]) / 3
        radius = 0.0
        for c in range(3):
            radius = max(radius, (t[c, 0] - cx) ** 2 + (t[c, 1] - cy) ** 2 + (t[c, 2] - cz) ** 2)
        ball = (np.sqrt(radius) + width) ** 2
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                across = ball - (i - cx) ** 2 - (j - cy) ** 2
                if across < 0:
                    continue
                half = np.sqrt(across)
                low, high = max(float(k0), cz - half), min(float(k1), cz + half)
                level = nx * i + ny * j - offset
                if abs(nz) > 1e-9:
                    first, second = (-width - level) / nz, (width - level) / nz
                    low, high = max(low, min(first, second)), min(high, max(first, second))
                elif abs(level) > width + 1e-6 * side:
                    continue
                for k in range(int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9)) + 1):
                    distance, _, _, _, _ = _closest(float(i), float(j), float(k), t)
                    if distance <= limit:
                        slot = slots[i // _BLOCK, j // _BLOCK, k // _BLOCK]
                        at = (i % _BLOCK * _BLOCK + j % _BLOCK) * _BLOCK + k % _BLOCK
                        if distance < squared[slot, at]:
                            squared[slot, at] = distance
                            face[slot, at] = f


@numba.njit(cache=True)
def _collect(slots, squared, face, side, limit):  # type: ignore[no-untyped-def]
    """Band vertices in order of linear index."""
    total = 0
    for slot in range(len(squared)):
        for at in range(squared.shape[1]):
            if squared[slot, at] <= limit:
                total += 1
    index = np.empty(total, dtype=np.uint32)
    distance = np.empty(total)
    faces = np.empty(total, dtype=np.int32)
    n = 0
    for i in range(side):
        for j in range(side):
            row = (i % _BLOCK * _BLOCK + j % _BLOCK) * _BLOCK
            for bk in range(slots.shape[2]):
                slot = slots[i // _BLOCK, j // _BLOCK, bk]
                if slot < 0:
                    continue
                for k in range(_BLOCK):
                    if squared[slot, row + k] <= limit:
                        index[n] = (i * side + j) * side + bk * _BLOCK + k
                        distance[n] = np.sqrt(squared[slot, row + k])
                        faces[n] = face[slot, row + k]
                        n += 1
    return index, distance, faces


@numba.njit(cache=True)
def _sweep(triangles, squared, face):  # type: ignore[no-untyped-def]
    """One round of eight directional sweeps; a vertex tries the closest faces of the seven neighbours behind it."""
    side = squared.shape[0]
    for direction in range(8):
        si = 1 if direction & 1 else -1
        sj = 1 if direction & 2 else -1
        sk = 1 if direction & 4 else -1
        for a in range(side):
            i = a if si > 0 else side - 1 - a
            for b in range(side):
                j = b if sj > 0 else side - 1 - b
                for c in range(side):
                    k = c if sk > 0 else side - 1 - c
                    for corner in range(1, 8):
                        u = i - si if corner & 1 else i
                        v = j - sj if corner & 2 else j
                        w = k - sk if corner & 4 else k
                        if u < 0 or v < 0 or w < 0 or u >= side or v >= side or w >= side:
                            continue
                        candidate = face[u, v, w]
                        if candidate < 0 or candidate == face[i, j, k]:
                            continue
                        distance, _, _, _, _ = _closest(float(i), float(j), float(k), triangles[candidate])
                        if distance < squared[i, j, k]:
                            squared[i, j, k] = distance
                            face[i, j, k] = candidate


@numba.njit(cache=True)
def _inside_by_pseudonormal(  # type: ignore[no-untyped-def]
    points, face, triangles, faces, face_normals, edge_normals, vertex_normals
):
    inside = np.empty(len(points), dtype=np.bool_)
    for p in range(len(points)):
        f = face[p]
        _, feature, rx, ry, rz = _closest(points[p, 0], points[p, 1], points[p, 2], triangles[f])
        if feature == 0:
            normal = face_normals[f]
        elif feature <= 3:
            normal = edge_normals[f, feature - 1]
        else:
            normal = vertex_normals[faces[f, feature - 4]]
        inside[p] = rx * normal[0] + ry * normal[1] + rz * normal[2] < 0
    return inside


@numba.njit(cache=True)
def _root(parent, node):  # type: ignore[no-untyped-def]
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@numba.njit(cache=True)
def _join(index, reach, side):  # type: ignore[no-untyped-def]
    """Union-find over the positive neighbours of each vertex on the three axes."""
    count = len(index)
    parent = np.arange(count).astype(np.int32)
    # Neighbours ahead of n move forward with n, so three cursors find them without searching.
    ahead = np.zeros(3, dtype=np.int64)
    for n in range(count):
        position = index[n]
        k, j = position % side, position // side % side
        for axis, step in enumerate((1, side, side * side)):
            if (axis == 0 and k == side - 1) or (axis == 1 and j == side - 1):
                continue
            while ahead[axis] < count and index[ahead[axis]] < position + step:
                ahead[axis] += 1
            m = ahead[axis]
            # The margin keeps rounding from joining two sides of a surface through a vertex.
            if m < count and index[m] == position + step and reach[n] + reach[m] > 1 + 1e-6:
                a, b = _root(parent, n), _root(parent, m)
                parent[max(a, b)] = min(a, b)
    for n in range(count):
        parent[n] = _root(parent, n)
    return parent
