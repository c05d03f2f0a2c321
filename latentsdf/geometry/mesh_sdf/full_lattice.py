"""Exact unsigned distance on a whole lattice by recursive subdivision, in lattice units.

The lattice is halved along each axis, recursively, down to blocks of at most 4^3 vertices. A block passes to its
children only the triangles that can be closest to one of its vertices p. Let b be the center and h the half extents of
the block, c0 a point of the mesh, c a point of another triangle. The difference

    |p - c|^2 - |p - c0|^2 = |b - c|^2 - |b - c0|^2 - 2 (p - b) . (c - c0)

is linear in p. With a disc of center m and radius r around the triangle, and a lower bound l of the squared distance
from b to the disc, the triangle is discarded if the difference is positive for all p of the block and all c of the
disc:

    l - 2 (sum over axes a of h_a |m_a - c0_a| + |h| r) > |b - c0|^2

Long triangles are bisected first, which keeps r small. In a smallest block, the exact form of the criterion follows: a
function that is linear in p is positive in the whole block if it is positive at its corners, so a triangle is discarded
if it is farther from every corner than c0. The triangles that remain are compared at all vertices. The inner loops are
free of branches and use float32, so that they are vectorized. They select the closest triangle; the distance to the
selected triangle is then computed in float64.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.geometry.lattice import cell_size, check_resolution, lattice_shape, to_lattice_units
from latentsdf.geometry.mesh_sdf.narrow_band import vertices_in_lattice_units
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.geometry.mesh_sdf.vector3 import Vector3, cross, dot, row, scale, subtract
from latentsdf.utils.numba_cache import compiled

# Cells per piece. With 4, meshes of needles take four times as long; without bisection, meshes of plates do.
_MAX_EDGE = 16.0
_MAX_PIECES = 200_000  # approximate, in addition to the faces themselves
_BLOCK_SIDE = 4  # vertices per axis of a smallest block
_BLOCK_VERTICES = _BLOCK_SIDE**3
_CHUNK = 16  # points compared at once; the number of points in a block varies
_FEW = 16  # candidates of a smallest block that are compared without the test at its corners
_TASKS_PER_AXIS = 4
_SLIVER_RATIO = 1e-5  # height over longest edge; a flatter triangle is replaced by its longest edge
_LARGE = np.float32(3e38)  # finite, because fastmath assumes finite values
_ROUNDING = 1e-5  # relative and absolute error of squared distances in the float32 comparisons
_ROW_FLOATS = 31  # per triangle in the table of planes; see `_plane_table`

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]


NO_POINTS = np.empty((0, 3))


def full_lattice_distance(
    mesh: trimesh.Trimesh, resolution: int, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Compute the unsigned distance to a mesh at every vertex of a lattice.

    Args:
        mesh: Mesh in model space.
        resolution: Cells per axis, R.
        threads: Number of threads, which does not affect the distances.

    Returns:
        Unsigned distance in model space, exact up to float32 rounding (5e-7 in the box), and closest face, both of
        shape (R + 1, R + 1, R + 1).

    Raises:
        ConfigError: The resolution is outside 1..1624.
    """
    return full_lattice_and_points(mesh, resolution, NO_POINTS, threads)[:2]


def full_lattice_and_points(
    mesh: trimesh.Trimesh, resolution: int, points: Floats, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
    """Compute the distance at every vertex of a lattice, and find the closest faces of points.

    A point is compared with the triangles that remain in the smallest block around it, which is several times faster
    than a search in a hierarchy.

    Args:
        mesh: Mesh in model space.
        resolution: Cells per axis, R.
        points: Points (N, 3) in model space.
        threads: Number of threads, which does not affect the results.

    Returns:
        Distance and closest face as `full_lattice_distance`, and the closest face (N,) of each point: the distance to
        it exceeds the distance to the mesh by at most 5e-7. -1 for points outside the box.

    Raises:
        ConfigError: The resolution is outside 1..1624.
    """
    check_resolution(resolution)
    queries, start, order = _sort_by_block(points, resolution)
    closest = np.full(len(points), -1, np.int32)
    corners, owner = _bisect_long_triangles(vertices_in_lattice_units(mesh, resolution)[mesh.faces])
    tables = _bounding_discs(corners), _plane_table(corners), corners, owner, cell_size(resolution)
    distance = np.empty(lattice_shape(resolution), np.float32)
    face = np.empty(distance.shape, np.int32)
    # Full blocks, so that the blocks of points are those of vertices.
    blocks = start.shape[0]
    cuts = np.linspace(0, blocks, (_TASKS_PER_AXIS if threads > 1 else 1) + 1).astype(np.int64) * _BLOCK_SIDE
    cuts[-1] = resolution + 1
    ranges = np.stack([cuts[:-1], cuts[1:]], axis=1)
    with ThreadPoolExecutor(threads) as pool:
        tasks = [np.concatenate(box) for box in product(ranges, repeat=3)]
        list(pool.map(lambda box: _fill_box(box, *tables, distance, face, queries, start, order, closest), tasks))
    return distance, face, closest


def _sort_by_block(points: Floats, resolution: int) -> tuple[Float32, Ints, Ints]:
    """Sort points by the smallest block of their nearest vertex; points outside the box come last, in no block.

    Returns:
        Points (3, N) in lattice units, sorted; ranges (B, B, B, 2) of each block in them; and their order (N,).
    """
    scaled = to_lattice_units(points, resolution)
    blocks = resolution // _BLOCK_SIDE + 1
    block = (np.rint(scaled).clip(0, resolution) // _BLOCK_SIDE).astype(np.int64)
    number = (block[:, 0] * blocks + block[:, 1]) * blocks + block[:, 2]
    number[((scaled < 0) | (scaled > resolution)).any(axis=1)] = blocks**3
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=blocks**3 + 1))[: blocks**3]
    ranges = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    return np.ascontiguousarray(scaled[order].T, np.float32), ranges.reshape(blocks, blocks, blocks, 2), order


def _bisect_long_triangles(corners: Floats) -> tuple[Floats, Ints]:
    """Bisect triangles (F, 3, 3) at their longest edge until none is long.

    Returns:
        Triangles (P, 3, 3), and the input triangle (P,) that each is a piece of.
    """
    owner = np.arange(len(corners))
    edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    # The number of pieces grows with the area of the triangles and, for needles, with their length.
    longest = edges.max(1)
    limit = max(_MAX_EDGE, float(np.sqrt((longest * edges.min(1)).sum() / _MAX_PIECES)))
    limit = max(limit, float(longest.sum() / _MAX_PIECES))
    done, owners = [], []
    while len(corners):
        edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        long = edges.max(1) > limit
        done.append(corners[~long])
        owners.append(owner[~long])
        longest_edge = edges[long].argmax(1)
        rotation = (longest_edge[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(np.take_along_axis(corners[long], rotation[:, :, None], axis=1), 1, 0)
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
        owner = np.tile(owner[long], 2)
    return np.ascontiguousarray(np.concatenate(done)), np.concatenate(owners)


def _bounding_discs(corners: Floats) -> Float32:
    """Center, unit normal (0 for a degenerate triangle) and radius (7, F) of the smallest disc around each triangle."""
    edges = np.roll(corners, -1, axis=1) - corners
    squared = (edges**2).sum(2)
    rows, first = np.arange(len(corners)), squared.argmax(1)
    a, ab = corners[rows, first], edges[rows, first]
    ac = -edges[rows, (first + 2) % 3]
    normal = np.cross(ab, ac)
    squared_normal = (normal**2).sum(1, keepdims=True)
    # Circumcircle of an acute triangle, else the circle whose diameter is the longest edge.
    acute = (squared.sum(1) > 2 * squared.max(1))[:, None] & (squared_normal > 0)
    numerator = (ac**2).sum(1, keepdims=True) * np.cross(normal, ab) + (ab**2).sum(1, keepdims=True) * np.cross(
        ac, normal
    )
    center = a + np.where(
        acute, np.divide(numerator, 2 * squared_normal, out=np.zeros_like(ab), where=squared_normal > 0), ab / 2
    )
    radius = np.linalg.norm(corners - center[:, None], axis=2).max(1) * (1 + 1e-6)
    normal = np.divide(normal, np.sqrt(squared_normal), out=np.zeros_like(normal), where=squared_normal > 0)
    return np.concatenate([center.T, normal.T, radius[None]]).astype(np.float32)


@compiled(nogil=True, error_model="numpy")
def _plane_table(corners: Floats) -> Float32:
    """Planes of each triangle for `_update_block`, flat (F * 31,).

    A plane is a unit normal and an offset (4 floats). A triangle has the plane that contains it, and for each side s
    the plane through the side with outward normal o_s, the plane through the start of the side with normal t_s along
    it, and the length L_s (9 floats). A sliver is replaced by its longest side, entered with both outward normals so
    that no point is between its sides.
    """
    table = np.empty(len(corners) * _ROW_FLOATS, np.float32)
    for f in range(len(corners)):
        longest = 0.0
        at: Any = np.int64(0)  # no literal, as in `triangle_bvh`
        for s in range(3):
            edge = subtract(row(corners[f], (s + 1) % 3), row(corners[f], s))
            length = np.sqrt(dot(edge, edge))
            if length > longest:
                longest, at = length, s
        first, apex = row(corners[f], at), row(corners[f], np.int64(0))
        normal = cross(subtract(row(corners[f], np.int64(1)), apex), subtract(row(corners[f], np.int64(2)), apex))
        area = np.sqrt(dot(normal, normal))
        sliver = area <= _SLIVER_RATIO * longest * longest
        if sliver:
            along = (1.0, 0.0, 0.0)
            if longest > 0:
                along = _divide(subtract(row(corners[f], (at + 1) % 3), first), longest)
            # The axis that is least parallel to the side, without its part along the side.
            x, y, z = abs(along[0]), abs(along[1]), abs(along[2])
            if x <= y and x <= z:
                normal = subtract((1.0, 0.0, 0.0), scale(along, along[0]))
            elif y <= z:
                normal = subtract((0.0, 1.0, 0.0), scale(along, along[1]))
            else:
                normal = subtract((0.0, 0.0, 1.0), scale(along, along[2]))
            area = np.sqrt(dot(normal, normal))
        normal = _divide(normal, area)
        r = f * _ROW_FLOATS
        table[r], table[r + 1], table[r + 2], table[r + 3] = normal[0], normal[1], normal[2], -dot(normal, first)
        for s in range(3):
            corner = at if sliver else s
            start = row(corners[f], corner)
            edge = subtract(row(corners[f], (corner + 1) % 3), start)
            length = np.sqrt(dot(edge, edge))
            along = _divide(edge, length) if length > 0 else (0.0, 0.0, 0.0)
            if sliver and longest == 0:
                along = (1.0, 0.0, 0.0)
            out = cross(along, normal)
            if sliver and s == 1:
                out = scale(out, -1.0)
            r = f * _ROW_FLOATS + 4 + 9 * s
            table[r], table[r + 1], table[r + 2], table[r + 3] = out[0], out[1], out[2], -dot(out, start)
            table[r + 4], table[r + 5], table[r + 6] = along[0], along[1], along[2]
            table[r + 7], table[r + 8] = -dot(along, start), length
    return table


@compiled(nogil=True, error_model="numpy")
def _divide(a: Vector3, number: float) -> Vector3:
    return a[0] / number, a[1] / number, a[2] / number


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _bound_distances(
    x: np.float32, y: np.float32, z: np.float32, pool: Float32, capacity: int, first: int, count: int, lower: Float32
) -> None:
    """Write lower bounds l of the squared distance from a point to the discs [first, first + count).

    With h the distance to the plane of the disc and rho the distance to its axis, l = h^2 + max(0, rho - r)^2.

    Args:
        x: Coordinate of the point.
        y: Coordinate of the point.
        z: Coordinate of the point.
        pool: Discs (7, capacity), flat.
        capacity: Number of columns of `pool`.
        first: First disc.
        count: Number of discs.
        lower: Bounds (capacity,), output.
    """
    zero = np.float32(0)
    for n in range(count):
        q = np.uint64(first + n)  # unsigned, since loops with a possibly negative index are not vectorized
        dx, dy, dz = x - pool[q], y - pool[q + np.uint64(capacity)], z - pool[q + np.uint64(2 * capacity)]
        nx, ny, nz = (
            pool[q + np.uint64(3 * capacity)],
            pool[q + np.uint64(4 * capacity)],
            pool[q + np.uint64(5 * capacity)],
        )
        h = dx * nx + dy * ny + dz * nz
        across = np.sqrt(max(zero, dx * dx + dy * dy + dz * dz - h * h))
        beside = max(zero, across - pool[q + np.uint64(6 * capacity)])
        lower[q] = h * h + beside * beside


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _subtract_thresholds(
    closest: Float32,
    half: Float32,
    ceiling: np.float32,
    pool: Float32,
    capacity: int,
    first: int,
    count: int,
    lower: Any,
) -> None:
    """Subtract the discard threshold from each bound; triangles with a positive result can be discarded.

    Args:
        closest: Point c0 (3,).
        half: Half extents h (3,) of the block.
        ceiling: Squared distance |b - c0|^2, enlarged by the rounding error.
        pool: Discs (7, capacity), flat.
        capacity: Number of columns of `pool`.
        first: First disc.
        count: Number of discs.
        lower: Bounds (capacity,), updated in place.
    """
    cx, cy, cz, hx, hy, hz = closest[0], closest[1], closest[2], half[0], half[1], half[2]
    diagonal, two = np.sqrt(hx * hx + hy * hy + hz * hz), np.float32(2)
    for n in range(count):
        q = np.uint64(first + n)
        sway = hx * abs(cx - pool[q]) + hy * abs(cy - pool[q + np.uint64(capacity)])
        sway += hz * abs(cz - pool[q + np.uint64(2 * capacity)])
        lower[q] -= two * (sway + diagonal * pool[q + np.uint64(6 * capacity)]) + ceiling


@compiled(nogil=True, error_model="numpy", fastmath=True, forceinline=True)
def _table_row(table: Float32, f: np.int32) -> Any:
    """Values of triangle f in the table of planes (`_plane_table`), as a tuple."""
    r = np.uint64(_ROW_FLOATS * f)
    plane = table[r], table[r + np.uint64(1)], table[r + np.uint64(2)], table[r + np.uint64(3)]
    return (plane, _side(table, r + np.uint64(4)), _side(table, r + np.uint64(13)), _side(table, r + np.uint64(22)))


@compiled(nogil=True, error_model="numpy", fastmath=True, forceinline=True)
def _side(table: Float32, r: np.uint64) -> Any:
    """The nine values of a side that begin at position r."""
    u = np.uint64
    first = table[r], table[r + u(1)], table[r + u(2)], table[r + u(3)], table[r + u(4)]
    return (*first, table[r + u(5)], table[r + u(6)], table[r + u(7)], table[r + u(8)])


@compiled(nogil=True, error_model="numpy", fastmath=True, forceinline=True)
def _squared_distance(triangle: Any, x: np.float32, y: np.float32, z: np.float32) -> Any:
    """Squared distance from a point to a triangle, a row of the table of planes.

    With h the signed distance to the plane of the triangle, a_s the signed distance beyond side s and t_s the position
    along side s, with the excess beyond its ends p_s = t_s - clamp(t_s, 0, L_s),

        d^2 = h^2 + (min over s of a_s^2 + p_s^2   if max over s of a_s > 0, else 0)
    """
    zero = np.float32(0)
    (nx, ny, nz, n0), (ax, ay, az, a0, au, av, aw, a1, a2), (bx, by, bz, b0, bu, bv, bw, b1, b2), last = triangle
    cx, cy, cz, c0, cu, cv, cw, c1, c2 = last
    h = nx * x + ny * y + nz * z + n0
    a, b, c = ax * x + ay * y + az * z + a0, bx * x + by * y + bz * z + b0, cx * x + cy * y + cz * z + c0
    p, q, r = au * x + av * y + aw * z + a1, bu * x + bv * y + bw * z + b1, cu * x + cv * y + cw * z + c1
    p, q, r = p - min(a2, max(zero, p)), q - min(b2, max(zero, q)), r - min(c2, max(zero, r))
    beside = min(a * a + p * p, min(b * b + q * q, c * c + r * r))
    return h * h + (beside if max(a, max(b, c)) > zero else zero)


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _update_block(f: np.int32, points: Float32, table: Float32, squared: Float32, closest: Any) -> None:
    """Update the squared distances and closest triangles of the vertices of a block by triangle f.

    Args:
        f: Triangle.
        points: Coordinates (3, 64) of the vertices, flat.
        table: Table of planes; see `_plane_table`.
        squared: Squared distances (64,), updated in place.
        closest: Closest triangles (64,), updated in place.
    """
    triangle = _table_row(table, f)
    for q in range(_BLOCK_VERTICES):
        d = _squared_distance(triangle, points[q], points[_BLOCK_VERTICES + q], points[2 * _BLOCK_VERTICES + q])
        better = d < squared[q]
        squared[q] = d if better else squared[q]
        closest[q] = f if better else closest[q]


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _update_chunk(f: np.int32, points: Float32, table: Float32, squared: Float32, closest: Any) -> None:
    """The same as `_update_block` for a chunk of 16 points."""
    triangle = _table_row(table, f)
    for q in range(_CHUNK):
        d = _squared_distance(triangle, points[q], points[_CHUNK + q], points[2 * _CHUNK + q])
        better = d < squared[q]
        squared[q] = d if better else squared[q]
        closest[q] = f if better else closest[q]


@compiled(nogil=True, error_model="numpy", fastmath=True)
def _reaches_a_corner(f: np.int32, corners: Float32, table: Float32, ceiling: Float32) -> bool:
    """Whether the squared distance of triangle f is at most the ceiling (8,) at a corner of a block (3, 8), flat."""
    triangle = _table_row(table, f)
    hits = 0
    for q in range(8):
        hits += _squared_distance(triangle, corners[q], corners[8 + q], corners[16 + q]) <= ceiling[q]
    return hits > 0


@compiled(nogil=True, error_model="numpy")
def _keep_reaching(
    x: float, y: float, z: float, half: Float32, c0: Float32, planes: Float32, ids: Any, kept: Ints, count: int
) -> int:
    """Keep only the triangles that are as close as the point c0 to a corner of the block, in place.

    Args:
        x: Coordinate of the center of the block.
        y: Coordinate of the center.
        z: Coordinate of the center.
        half: Half extents (3,).
        c0: Point of the mesh (3,).
        planes: Table of planes.
        ids: Triangles by position in the pool.
        kept: Positions of the candidates in the first `count` entries.
        count: Number of candidates.

    Returns:
        Number of candidates that remain.
    """
    corners, ceiling = np.empty(24, np.float32), np.empty(8, np.float32)
    for q in range(8):
        px = x + (half[0] if q & 1 else -half[0])
        py = y + (half[1] if q & 2 else -half[1])
        pz = z + (half[2] if q & 4 else -half[2])
        corners[q], corners[8 + q], corners[16 + q] = px, py, pz
        squared = (px - c0[0]) ** 2 + (py - c0[1]) ** 2 + (pz - c0[2]) ** 2
        ceiling[q] = squared * (1 + _ROUNDING) + _ROUNDING
    remaining = 0
    for n in range(count):
        if _reaches_a_corner(ids[kept[n]], corners, planes, ceiling):
            kept[remaining] = kept[n]
            remaining += 1
    return remaining


@compiled(nogil=True)
def _split_position(begin: int, end: int) -> int:
    """Position that halves a range such that all smallest blocks but the last are full; `end` for a smallest block."""
    parts = (end - begin + _BLOCK_SIDE - 1) // _BLOCK_SIDE
    return min(end, begin + _BLOCK_SIDE * ((parts + 1) // 2))


@compiled(nogil=True, error_model="numpy")
def _fill_box(
    box: Ints,
    discs: Float32,
    planes: Float32,
    corners: Floats,
    owner: Ints,
    cell: float,
    distance: Any,
    face: Any,
    queries: Float32,
    start: Ints,
    order: Ints,
    query_face: Any,
) -> None:
    """Compute distances and closest faces in the box [i0, i1, j0, j1, k0, k1], ends exclusive, depth first.

    `queries`, `start` and `order` are points sorted by block (`_sort_by_block`); `query_face` receives their closest
    faces. With points, blocks extend by half a cell to all sides.

    `pool` is a stack of lists of discs: the list of a block begins where the list of its parent ends and overwrites the
    lists of finished blocks.
    """
    capacity = 4 * discs.shape[1] + 1024
    pool, lower = np.empty(7 * capacity, np.float32), np.empty(capacity, np.float32)
    ids, kept = np.empty(capacity, np.int32), np.empty(capacity, np.int64)
    for q in range(discs.shape[1]):
        ids[q] = q
        for field in range(7):
            pool[field * capacity + q] = discs[field, q]
    blocks = np.zeros((512, 9), np.int64)  # ranges of i, j, k; range of the parent's list; a nearby triangle
    for q in range(6):
        blocks[0, q] = box[q]
    blocks[0, 7] = discs.shape[1]
    margin = 1 if queries.shape[1] == 0 else 0
    count = 1 if box[0] < box[1] and box[2] < box[3] and box[4] < box[5] else 0
    points, d, closest = (
        np.zeros(3 * _BLOCK_VERTICES, np.float32),
        np.empty(_BLOCK_VERTICES, np.float32),
        np.empty(_BLOCK_VERTICES, np.int32),
    )
    chunk_points = np.zeros(3 * _CHUNK, np.float32)
    half, c0 = np.empty(3, np.float32), np.empty(3, np.float32)
    while count > 0:
        count -= 1
        i0, i1, j0, j1, k0, k1, first, last, near = blocks[count]
        x, y, z = (i0 + i1 - 1) / 2, (j0 + j1 - 1) / 2, (k0 + k1 - 1) / 2
        half[0], half[1], half[2] = (i1 - i0 - margin) / 2, (j1 - j0 - margin) / 2, (k1 - k0 - margin) / 2
        _bound_distances(np.float32(x), np.float32(y), np.float32(z), pool, capacity, first, last - first, lower)
        candidate = first
        for q in range(first + 1, last):
            candidate = q if lower[q] < lower[candidate] else candidate
        best, _, c0[0], c0[1], c0[2] = closest_point_on_triangle(x, y, z, corners, near)
        other, _, cx, cy, cz = closest_point_on_triangle(x, y, z, corners, np.int64(ids[candidate]))
        if other < best:
            best, near = other, ids[candidate]
            c0[0], c0[1], c0[2] = cx, cy, cz
        _subtract_thresholds(
            c0, half, np.float32(best * (1 + _ROUNDING) + _ROUNDING), pool, capacity, first, last - first, lower
        )
        kept_count = np.int64(0)
        for q in range(first, last):
            kept[kept_count] = q
            kept_count += lower[q] <= 0
        side = max(i1 - i0, j1 - j0, k1 - k0)
        if side <= 2 * _BLOCK_SIDE and kept_count > _FEW:
            kept_count = _keep_reaching(x, y, z, half, c0, planes, ids, kept, kept_count)
        if side <= _BLOCK_SIDE:
            n = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    for k in range(k0, k1):
                        points[n], points[_BLOCK_VERTICES + n], points[2 * _BLOCK_VERTICES + n] = i, j, k
                        d[n], closest[n] = _LARGE, near
                        n += 1
            for q in range(kept_count):
                _update_block(ids[kept[q]], points, planes, d, closest)
            n = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    for k in range(k0, k1):
                        squared, _, _, _, _ = closest_point_on_triangle(
                            float(i), float(j), float(k), corners, np.int64(closest[n])
                        )
                        distance[i, j, k] = np.sqrt(squared) * cell
                        face[i, j, k] = owner[closest[n]]
                        n += 1
            first_query, last_query = start[i0 // _BLOCK_SIDE, j0 // _BLOCK_SIDE, k0 // _BLOCK_SIDE]
            for chunk in range(first_query, last_query, _CHUNK):
                size = min(_CHUNK, last_query - chunk)
                for n in range(size):
                    for axis in range(3):
                        chunk_points[axis * _CHUNK + n] = queries[axis, chunk + n]
                for n in range(_CHUNK):
                    d[n], closest[n] = _LARGE, near
                for q in range(kept_count):
                    _update_chunk(ids[kept[q]], chunk_points, planes, d, closest)
                for n in range(size):
                    query_face[order[chunk + n]] = owner[closest[n]]
            continue
        if last + kept_count > capacity:
            new_capacity = 2 * (last + kept_count)
            larger_pool = np.empty(7 * new_capacity, np.float32)
            larger_ids, larger_kept = np.empty(new_capacity, np.int32), np.empty(new_capacity, np.int64)
            for q in range(capacity):
                larger_ids[q], larger_kept[q] = ids[q], kept[q]
                for field in range(7):
                    larger_pool[field * new_capacity + q] = pool[field * capacity + q]
            pool, ids, kept = larger_pool, larger_ids, larger_kept
            lower, capacity = np.empty(new_capacity, np.float32), new_capacity
        for q in range(kept_count):
            ids[last + q] = ids[kept[q]]
            for field in range(7):
                pool[field * capacity + last + q] = pool[field * capacity + kept[q]]
        im, jm, km = _split_position(i0, i1), _split_position(j0, j1), _split_position(k0, k1)
        for ia, ib in ((i0, im), (im, i1)):
            for ja, jb in ((j0, jm), (jm, j1)):
                for ka, kb in ((k0, km), (km, k1)):
                    if ia < ib and ja < jb and ka < kb:
                        block = blocks[count]
                        block[0], block[1], block[2], block[3], block[4], block[5] = ia, ib, ja, jb, ka, kb
                        block[6], block[7], block[8] = last, last + kept_count, near
                        count += 1
