"""Marching cubes over a sparse lattice, welded by lattice edge, with case tables built here from their definition.

Inside is negative; a value of exactly 0 counts as outside. Each lattice edge whose ends differ carries one vertex, so
neighbouring cells share vertices by construction and a closed level set gives a watertight mesh. On a cell face with
two diagonal inside corners the corners are kept apart; the rule looks at that face alone, so both cells agree.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from latentsdf.extraction.sparse_lattice import SIDE, Blocks, Ints, load
from latentsdf.utils.numba_cache import compiled

_MARGIN = 1e-4  # of a cell: vertices keep off the lattice vertices, or faces without area would appear there
_MOST = 5


def marching_cubes(blocks: Blocks) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3) in model space and outward faces (F, 3) of the zero level set, on cells with all corners present.

    A surface that leaves the box is closed by a cap on the box's side.
    """
    base, edges, count = _number(blocks.table, blocks.corner, blocks.value)
    vertices = _place(blocks.table, blocks.corner, blocks.value, base, edges, count)
    triangles, sizes = _tables()
    faces = _connect(blocks.table, blocks.corner, blocks.value, base, edges, triangles, sizes)
    return (vertices - 1) * (2 / blocks.resolution) - 1, faces


@cache
def _tables() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Triangles (256, 5, 3) of each case as edge numbers, and how many there are (256,).

    Corner c of a cell has offset (c >> 2, c >> 1 & 1, c & 1); bit c of the case says it is inside. Edge 3 c + axis
    leaves corner c upward along the axis.
    """
    triangles = np.zeros((256, _MOST, 3), dtype=np.int8)
    sizes = np.zeros(256, dtype=np.int8)
    for case in range(256):
        found = [triangle for loop in _loops(case) for triangle in _triangulate(loop)]
        sizes[case] = len(found)
        if found:
            triangles[case, : len(found)] = found
    return triangles, sizes


def _loops(case: int) -> list[list[int]]:
    """Closed walks over the crossed edges, outside on the left-hand normal side, one per sheet of the surface."""
    following: dict[int, int] = {}
    for axis in range(3):
        for side in (0, 1):
            ring = _ring(axis, side)
            inside = [bool(case >> corner & 1) for corner in ring]
            for i in range(4):
                if inside[i] or not inside[(i + 1) % 4]:
                    continue
                j = (i + 1) % 4
                while inside[(j + 1) % 4]:
                    j = (j + 1) % 4
                following[_edge(ring[i], ring[(i + 1) % 4])] = _edge(ring[j], ring[(j + 1) % 4])
    loops = []
    while following:
        start = next(iter(following))
        loop, at = [start], following.pop(start)
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(loop)
    return loops


def _ring(axis: int, side: int) -> list[int]:
    """Corners of a cell face, counterclockwise seen from outside."""
    u, v = 4 >> (axis + 1) % 3, 4 >> (axis + 2) % 3
    ring = [0, u, u | v, v]
    return [corner | side * (4 >> axis) for corner in (ring if side else ring[::-1])]


def _edge(first: int, second: int) -> int:
    return 3 * min(first, second) + {4: 0, 2: 1, 1: 2}[first ^ second]


def _middle(edge: int) -> NDArray[np.float64]:
    corner, axis = divmod(edge, 3)
    middle = np.array([corner >> 2, corner >> 1 & 1, corner & 1], dtype=np.float64)
    middle[axis] += 0.5
    return middle


def _diagonal(first: int, second: int) -> float:
    """Length of a diagonal; infinite within one cell face, where it could meet the neighbour cell's surface."""
    a, b = _middle(first), _middle(second)
    return np.inf if np.any((a == b) & (a % 1 == 0)) else float(np.linalg.norm(a - b))


def _triangulate(loop: list[int]) -> list[tuple[int, int, int]]:
    """The triangulation with the least total length of diagonals."""
    n = len(loop)

    @cache
    def best(i: int, j: int) -> tuple[float, tuple[tuple[int, int, int], ...]]:
        if j - i < 2:
            return 0.0, ()
        options = []
        for k in range(i + 1, j):
            cost = sum(_diagonal(loop[a], loop[b]) for a, b in ((i, k), (k, j)) if b - a > 1)
            left, right = best(i, k), best(k, j)
            options.append((cost + left[0] + right[0], (*left[1], (loop[i], loop[k], loop[j]), *right[1])))
        return min(options, key=lambda option: option[0])

    cost, triangles = best(0, n - 1)
    assert np.isfinite(cost), loop
    return list(triangles)


@compiled()
def _number(table: Ints, corner: Ints, value: NDArray[np.float32]) -> tuple[Ints, NDArray[np.uint8], int]:
    """For each vertex: number of its first crossed edge, and which of its three upward edges are crossed."""
    base = np.zeros(value.shape, dtype=np.int32)
    edges = np.zeros(value.shape, dtype=np.uint8)
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    count = 0
    for row in range(len(corner)):
        load(table, corner, value, row, halo)
        for x in range(SIDE):
            for y in range(SIDE):
                for z in range(SIDE):
                    here, local = halo[x, y, z], x << 6 | y << 3 | z
                    base[row, local] = count
                    for axis in range(3):
                        there = halo[x + (axis == 0), y + (axis == 1), z + (axis == 2)]
                        if (here < 0 and there >= 0) or (here >= 0 and there < 0):
                            edges[row, local] |= 1 << axis
                            count += 1
    return base, edges, count


@compiled()
def _place(
    table: Ints, corner: Ints, value: NDArray[np.float32], base: Ints, edges: NDArray[np.uint8], count: int
) -> NDArray[np.float64]:
    """Linear interpolation along the crossed edges, in stored vertex coordinates."""
    vertices = np.empty((count, 3))
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        if not edges[row].any():
            continue
        load(table, corner, value, row, halo)
        for local in range(len(edges[row])):
            number = base[row, local]
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            for axis in range(3):
                if not edges[row, local] >> axis & 1:
                    continue
                here = float(halo[x, y, z])
                there = float(halo[x + (axis == 0), y + (axis == 1), z + (axis == 2)])
                t = 1.0 if np.isinf(here) else here / (here - there)  # 0 when the other end is infinite
                vertices[number, 0] = corner[row, 0] * SIDE + x
                vertices[number, 1] = corner[row, 1] * SIDE + y
                vertices[number, 2] = corner[row, 2] * SIDE + z
                vertices[number, axis] += min(max(t, _MARGIN), 1 - _MARGIN)
                number += 1
    return vertices


@compiled()
def _connect(
    table: Ints, corner: Ints, value: NDArray[np.float32], base: Ints, edges: NDArray[np.uint8],
    triangles: NDArray[np.int8], sizes: NDArray[np.int8],
) -> NDArray[np.int64]:  # fmt: skip
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    faces = np.empty((max(1024, 3 * int(base.max() if base.size else 0)), 3), dtype=np.int64)
    count = 0
    for row in range(len(corner)):
        load(table, corner, value, row, halo)
        for x in range(SIDE):
            for y in range(SIDE):
                for z in range(SIDE):
                    case = _case(halo, x, y, z)
                    for i in range(sizes[case] if case >= 0 else 0):
                        if count == len(faces):
                            faces = np.concatenate((faces, np.empty_like(faces)))
                        for j in range(3):
                            start, axis = triangles[case, i, j] // 3, triangles[case, i, j] % 3
                            p, q, r = x + (start >> 2), y + (start >> 1 & 1), z + (start & 1)
                            to = table[corner[row, 0] + (p >> 3), corner[row, 1] + (q >> 3), corner[row, 2] + (r >> 3)]
                            at = (p & 7) << 6 | (q & 7) << 3 | (r & 7)
                            number = base[to, at]
                            for lower in range(axis):
                                number += edges[to, at] >> lower & 1
                            faces[count, j] = number
                        count += 1
    return faces[:count].copy()


@compiled()
def _case(halo: NDArray[np.float32], x: int, y: int, z: int) -> int:
    """Which corners of a cell are inside, as bits; -1 when a corner is absent."""
    case = 0
    for c in range(8):
        v = halo[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)]
        if np.isnan(v):
            return -1
        case |= (v < 0) << c
    return case
