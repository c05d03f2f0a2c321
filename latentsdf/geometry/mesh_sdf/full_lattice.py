"""Exact distances on a whole lattice, by halving it from the box down to blocks of a few vertices.

Each block hands its halves the triangles that can still be closest to a vertex of theirs. With b its centre, c0 any
point of the surface and c another one, |p - c|^2 - |p - c0|^2 is linear in p, so a triangle is out when it stays
positive at every corner of the block for every c of the triangle. Large triangles are cut first, so that this says
something about them too. The triangles left for a small block are offered to all its vertices at once. Both loops run
without branches and in float32, so that the processor's vector units do the work; they choose the triangle, and the
distance to the chosen one is computed in float64.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.geometry.lattice import cell_size, check_resolution, lattice_shape
from latentsdf.geometry.mesh_sdf.narrow_band import in_cells
from latentsdf.geometry.mesh_sdf.triangles import point_triangle
from latentsdf.utils.numba_cache import compiled

_LONGEST_EDGE = 16.0  # cells, of a piece; 4 makes meshes of needles four times as slow, none those of plates
_MOST_PIECES = 200_000  # beyond the faces themselves, about
_SMALL = 4  # lattice vertices per axis of a block whose distances are computed
_VERTICES = _SMALL**3
_TASKS_PER_AXIS = 4
_SLIVER = 1e-5  # height over longest edge: a flatter triangle is its longest edge
_FAR = np.float32(3e38)  # finite, as the vector loops assume
_ROUNDING = 1e-5  # of the float32 comparisons, relative to squared distances
_ROW = 31  # floats of a triangle: its plane, the planes of its sides, the positions along them, their lengths

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]


def sparse_lattice(
    mesh: trimesh.Trimesh, resolution: int, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Distance to the mesh on the whole lattice, and the closest face: two (R+1, R+1, R+1) arrays.

    Within float32 rounding of exact (5e-7 in the box), whatever the mesh; threads do not change the distances. Raises
    ConfigError for a resolution outside 1..1624.
    """
    check_resolution(resolution)
    corners, owner = _pieces(in_cells(mesh, resolution)[mesh.faces])
    tables = _discs(corners), _rows(corners), corners, owner, cell_size(resolution)
    distance = np.empty(lattice_shape(resolution), np.float32)
    face = np.empty(distance.shape, np.int32)
    cuts = np.linspace(0, resolution + 1, (_TASKS_PER_AXIS if threads > 1 else 1) + 1).astype(np.int64)
    ranges = np.stack([cuts[:-1], cuts[1:]], axis=1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda box: _fill(np.concatenate(box), *tables, distance, face), product(ranges, repeat=3)))
    return distance, face


def _pieces(corners: Floats) -> tuple[Floats, Ints]:
    """The triangles (F, 3, 3), those with long edges halved until they have none, and the face each comes from."""
    owner = np.arange(len(corners))
    edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    # As many pieces as a mesh needs grow with its edges' area and, for needles, with their length.
    longest = edges.max(1)
    limit = max(_LONGEST_EDGE, float(np.sqrt((longest * edges.min(1)).sum() / _MOST_PIECES)))
    limit = max(limit, float(longest.sum() / _MOST_PIECES))
    done, owners = [], []
    while len(corners):
        edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        long = edges.max(1) > limit
        done.append(corners[~long])
        owners.append(owner[~long])
        first = edges[long].argmax(1)
        turn = (first[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(corners[long], turn[:, :, None], axis=1), 1, 0)
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
        owner = np.tile(owner[long], 2)
    return np.ascontiguousarray(np.concatenate(done)), np.concatenate(owners)


def _discs(corners: Floats) -> Float32:
    """(7, F): centre, unit normal (0 for a triangle without area) and radius of the smallest disc around a triangle."""
    edges = np.roll(corners, -1, axis=1) - corners
    squared = (edges**2).sum(2)
    rows, first = np.arange(len(corners)), squared.argmax(1)
    a, ab = corners[rows, first], edges[rows, first]
    ac = -edges[rows, (first + 2) % 3]
    normal = np.cross(ab, ac)
    twice = (normal**2).sum(1, keepdims=True)
    # The circle through the corners of an acute triangle, else the one over its longest edge.
    acute = (squared.sum(1) > 2 * squared.max(1))[:, None] & (twice > 0)
    through = (ac**2).sum(1, keepdims=True) * np.cross(normal, ab) + (ab**2).sum(1, keepdims=True) * np.cross(
        ac, normal
    )
    center = a + np.where(acute, np.divide(through, 2 * twice, out=np.zeros_like(ab), where=twice > 0), ab / 2)
    radius = np.linalg.norm(corners - center[:, None], axis=2).max(1) * (1 + 1e-6)
    normal = np.divide(normal, np.sqrt(twice), out=np.zeros_like(normal), where=twice > 0)
    return np.concatenate([center.T, normal.T, radius[None]]).astype(np.float32)


@compiled(nogil=True, error_model="numpy")
def _rows(corners: Floats) -> Float32:
    """(F * _ROW,): the plane of each triangle, then per side the plane outward of it, the one across its start, and its
    length; planes as normal and offset.

    A sliver is its longest side twice, facing both ways, so that no point is between its sides.
    """
    table = np.empty((len(corners), _ROW))
    for f in range(len(corners)):
        longest, at = 0.0, 0
        for s in range(3):
            edge = corners[f, (s + 1) % 3] - corners[f, s]
            length = np.sqrt((edge * edge).sum())
            if length > longest:
                longest, at = length, s
        normal = np.cross(corners[f, 1] - corners[f, 0], corners[f, 2] - corners[f, 0])
        area = np.sqrt((normal * normal).sum())
        sliver = area <= _SLIVER * longest * longest
        if sliver:
            along = np.array((1.0, 0.0, 0.0))
            if longest > 0:
                along = (corners[f, (at + 1) % 3] - corners[f, at]) / longest
            normal = np.zeros(3)
            normal[np.abs(along).argmin()] = 1.0
            normal -= (normal * along).sum() * along
            area = np.sqrt((normal * normal).sum())
        normal /= area
        table[f, :3], table[f, 3] = normal, -(normal * corners[f, at]).sum()
        for s in range(3):
            start = corners[f, at if sliver else s]
            edge = corners[f, ((at if sliver else s) + 1) % 3] - start
            length = np.sqrt((edge * edge).sum())
            along = edge / length if length > 0 else np.array((0.0, 0.0, 0.0))
            if sliver and longest == 0:
                along[:] = 1.0, 0.0, 0.0
            out = np.cross(along, normal)
            if sliver and s == 1:
                out = -out
            row = table[f, 4 + 9 * s : 13 + 9 * s]
            row[:3], row[3] = out, -(out * start).sum()
            row[4:7], row[7], row[8] = along, -(along * start).sum(), length
    return table.astype(np.float32).ravel()


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _bound(
    x: np.float32, y: np.float32, z: np.float32, pool: Float32, room: int, first: int, count: int, lower: Float32
) -> None:
    """Lower bounds of the squared distance from a point to the discs [first, first + count) of (7, room) flat."""
    zero = np.float32(0)
    for n in range(count):
        q = np.uint64(first + n)  # unsigned: an index that may be negative is not vectorized
        dx, dy, dz = x - pool[q], y - pool[q + np.uint64(room)], z - pool[q + np.uint64(2 * room)]
        nx, ny, nz = pool[q + np.uint64(3 * room)], pool[q + np.uint64(4 * room)], pool[q + np.uint64(5 * room)]
        h = dx * nx + dy * ny + dz * nz
        across = np.sqrt(max(zero, dx * dx + dy * dy + dz * dz - h * h))
        beside = max(zero, across - pool[q + np.uint64(6 * room)])
        lower[q] = h * h + beside * beside


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _sift(
    closest: Float32, half: Float32, ceiling: np.float32, pool: Float32, room: int, first: int, count: int, lower: Any
) -> None:
    """Turn each bound into how far its disc is from closer than `closest` somewhere in the block: <= 0 if it can be."""
    cx, cy, cz, hx, hy, hz = closest[0], closest[1], closest[2], half[0], half[1], half[2]
    reach, two = np.sqrt(hx * hx + hy * hy + hz * hz), np.float32(2)
    for n in range(count):
        q = np.uint64(first + n)
        sway = hx * abs(cx - pool[q]) + hy * abs(cy - pool[q + np.uint64(room)])
        sway += hz * abs(cz - pool[q + np.uint64(2 * room)])
        lower[q] -= two * (sway + reach * pool[q + np.uint64(6 * room)]) + ceiling


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _offer(f: np.int32, points: Float32, table: Float32, squared: Float32, leaf: Any) -> None:
    """Improve the squared distances of a block's points, (3, _VERTICES) flat, by triangle f."""
    r = np.uint64(_ROW * f)
    nx, ny, nz, n0 = table[r], table[r + np.uint64(1)], table[r + np.uint64(2)], table[r + np.uint64(3)]
    ax, ay, az, a0 = table[r + np.uint64(4)], table[r + np.uint64(5)], table[r + np.uint64(6)], table[r + np.uint64(7)]
    au, av, aw, a1, a2 = (
        table[r + np.uint64(8)],
        table[r + np.uint64(9)],
        table[r + np.uint64(10)],
        table[r + np.uint64(11)],
        table[r + np.uint64(12)],
    )
    bx, by, bz, b0 = (
        table[r + np.uint64(13)],
        table[r + np.uint64(14)],
        table[r + np.uint64(15)],
        table[r + np.uint64(16)],
    )
    bu, bv, bw, b1, b2 = (
        table[r + np.uint64(17)],
        table[r + np.uint64(18)],
        table[r + np.uint64(19)],
        table[r + np.uint64(20)],
        table[r + np.uint64(21)],
    )
    cx, cy, cz, c0 = (
        table[r + np.uint64(22)],
        table[r + np.uint64(23)],
        table[r + np.uint64(24)],
        table[r + np.uint64(25)],
    )
    cu, cv, cw, c1, c2 = (
        table[r + np.uint64(26)],
        table[r + np.uint64(27)],
        table[r + np.uint64(28)],
        table[r + np.uint64(29)],
        table[r + np.uint64(30)],
    )
    zero = np.float32(0)
    for q in range(_VERTICES):
        x, y, z = points[q], points[_VERTICES + q], points[2 * _VERTICES + q]
        h = nx * x + ny * y + nz * z + n0
        a, b, c = ax * x + ay * y + az * z + a0, bx * x + by * y + bz * z + b0, cx * x + cy * y + cz * z + c0
        p, r_, s = au * x + av * y + aw * z + a1, bu * x + bv * y + bw * z + b1, cu * x + cv * y + cw * z + c1
        p, r_, s = p - min(a2, max(zero, p)), r_ - min(b2, max(zero, r_)), s - min(c2, max(zero, s))
        beside = min(a * a + p * p, min(b * b + r_ * r_, c * c + s * s))
        d = h * h + (beside if max(a, max(b, c)) > zero else zero)
        better = d < squared[q]
        squared[q] = d if better else squared[q]
        leaf[q] = f if better else leaf[q]


@compiled(nogil=True)
def _halfway(begin: int, end: int) -> int:
    """Where to halve a range so that its small parts are full, but for the last; its end if it is small."""
    parts = (end - begin + _SMALL - 1) // _SMALL
    return min(end, begin + _SMALL * ((parts + 1) // 2))


@compiled(nogil=True, error_model="numpy")
def _fill(
    box: Ints, discs: Float32, rows: Float32, corners: Floats, owner: Ints, cell: float, distance: Any, face: Any
) -> None:
    """Fill the box [i0, i1, j0, j1, k0, k1], ends excluded, block by block, the deepest first.

    `pool` is a stack of lists of discs: a block's own list begins where its parent's ends, and what lies behind belongs
    to blocks that are done.
    """
    room = 4 * discs.shape[1] + 1024
    pool, lower = np.empty(7 * room, np.float32), np.empty(room, np.float32)
    ids, kept = np.empty(room, np.int32), np.empty(room, np.int64)
    for field in range(7):
        pool[field * room : field * room + discs.shape[1]] = discs[field]
    ids[: discs.shape[1]] = np.arange(discs.shape[1])
    blocks = np.empty((512, 9), np.int64)  # ranges of i, j, k; of the parent's list; a triangle not far away
    blocks[0, :6], blocks[0, 6:] = box, (0, discs.shape[1], 0)
    count = 1 if box[0] < box[1] and box[2] < box[3] and box[4] < box[5] else 0
    points, d, leaf = (
        np.zeros(3 * _VERTICES, np.float32),
        np.empty(_VERTICES, np.float32),
        np.empty(_VERTICES, np.int32),
    )
    half, to = np.empty(3, np.float32), np.empty(3, np.float32)
    while count > 0:
        count -= 1
        i0, i1, j0, j1, k0, k1, first, last, near = blocks[count]
        x, y, z = (i0 + i1 - 1) / 2, (j0 + j1 - 1) / 2, (k0 + k1 - 1) / 2
        half[0], half[1], half[2] = (i1 - i0 - 1) / 2, (j1 - j0 - 1) / 2, (k1 - k0 - 1) / 2
        _bound(np.float32(x), np.float32(y), np.float32(z), pool, room, first, last - first, lower)
        at = first
        for q in range(first + 1, last):
            at = q if lower[q] < lower[at] else at
        best, _, to[0], to[1], to[2] = point_triangle(x, y, z, corners, near)
        other, _, cx, cy, cz = point_triangle(x, y, z, corners, ids[at])
        if other < best:
            best, near = other, ids[at]
            to[0], to[1], to[2] = cx, cy, cz
        _sift(to, half, np.float32(best * (1 + _ROUNDING) + _ROUNDING), pool, room, first, last - first, lower)
        top = 0
        for q in range(first, last):
            kept[top] = q
            top += lower[q] <= 0
        if max(i1 - i0, j1 - j0, k1 - k0) <= _SMALL:
            here = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    for k in range(k0, k1):
                        points[here], points[_VERTICES + here], points[2 * _VERTICES + here] = i, j, k
                        d[here], leaf[here] = _FAR, near
                        here += 1
            for q in range(top):
                _offer(ids[kept[q]], points, rows, d, leaf)
            here = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    for k in range(k0, k1):
                        distance[i, j, k] = np.sqrt(point_triangle(i, j, k, corners, leaf[here])[0]) * cell
                        face[i, j, k] = owner[leaf[here]]
                        here += 1
            continue
        if last + top > room:
            more = 2 * (last + top)
            wider = np.empty(7 * more, np.float32)
            for field in range(7):
                wider[field * more : field * more + last] = pool[field * room : field * room + last]
            ids = np.concatenate((ids, np.empty(more - room, np.int32)))
            kept = np.concatenate((kept, np.empty(more - room, np.int64)))
            pool, lower, room = wider, np.empty(more, np.float32), more
        for q in range(top):
            ids[last + q] = ids[kept[q]]
            for field in range(7):
                pool[field * room + last + q] = pool[field * room + kept[q]]
        im, jm, km = _halfway(i0, i1), _halfway(j0, j1), _halfway(k0, k1)
        for ia, ib in ((i0, im), (im, i1)):
            for ja, jb in ((j0, jm), (jm, j1)):
                for ka, kb in ((k0, km), (km, k1)):
                    if ia < ib and ja < jb and ka < kb:
                        blocks[count] = ia, ib, ja, jb, ka, kb, last, last + top, near
                        count += 1
