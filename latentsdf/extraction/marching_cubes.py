"""Marching cubes (Lorensen and Cline 1987) on a sparse lattice, with case tables derived from their definition.

Inside is negative; a value of exactly 0 is outside. Every lattice edge with a sign change gets one mesh vertex, shared
by all cells around the edge, so a closed level set gives a watertight mesh without a separate welding step. A cell face
with two diagonally opposite inside corners is ambiguous; its inside corners are separated. This rule depends on the
face alone, so both adjacent cells agree.

Corner c of a cell has the offset (c >> 2, c >> 1 & 1, c & 1). Bit c of a case is set where corner c is inside. Edge
3 c + axis goes from corner c upward along the axis.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from latentsdf.extraction.sparse_lattice import BLOCK_SIDE, BLOCK_VOLUME, Ints, SparseLattice, load_halo
from latentsdf.utils.numba_cache import compiled

_VERTEX_MARGIN = 1e-4  # cells between a mesh vertex and the ends of its edge; without it faces of zero area appear
_MAX_TRIANGLES = 5  # per cell


def marching_cubes(lattice: SparseLattice) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Triangulate the zero level set in all cells whose eight corners are present.

    A surface that leaves the box is closed by a cap on the side of the box.

    Returns:
        Vertices (V, 3) in model space and faces (F, 3), oriented outward.
    """
    base, edges, count = _number_crossed_edges(lattice.table, lattice.corner, lattice.value)
    vertices = _interpolate_vertices(lattice.table, lattice.corner, lattice.value, base, edges, count)
    triangles, sizes = _case_tables()
    faces = _assemble_triangles(lattice.table, lattice.corner, lattice.value, base, edges, triangles, sizes, 3 * count)
    return (vertices - 1) * (2 / lattice.resolution) - 1, faces.copy()  # without the memory that is left over


@cache
def _case_tables() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Triangles (256, 5, 3) of each case as edge numbers, and their count per case (256,)."""
    triangles = np.zeros((256, _MAX_TRIANGLES, 3), dtype=np.int8)
    sizes = np.zeros(256, dtype=np.int8)
    for case in range(256):
        of_case = [triangle for loop in _contour_loops(case) for triangle in _triangulate(loop)]
        sizes[case] = len(of_case)
        if of_case:
            triangles[case, : len(of_case)] = of_case
    return triangles, sizes


def _contour_loops(case: int) -> list[list[int]]:
    """Closed polygons over the crossed edges of a cell, one per sheet of the surface, oriented outward.

    On each cell face, a run of inside corners is entered through one crossed edge and left through another one. These
    segments, linked over the six faces, form the polygons.
    """
    following: dict[int, int] = {}
    for axis in range(3):
        for side in (0, 1):
            ring = _face_corners(axis, side)
            inside = [bool(case >> corner & 1) for corner in ring]
            for i in range(4):
                if inside[i] or not inside[(i + 1) % 4]:
                    continue
                j = (i + 1) % 4
                while inside[(j + 1) % 4]:
                    j = (j + 1) % 4
                following[_edge_between(ring[i], ring[(i + 1) % 4])] = _edge_between(ring[j], ring[(j + 1) % 4])
    loops = []
    while following:
        start = next(iter(following))
        loop, at = [start], following.pop(start)
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(loop)
    return loops


def _face_corners(axis: int, side: int) -> list[int]:
    """Corners of a cell face, counterclockwise as seen from outside the cell."""
    u, v = 4 >> (axis + 1) % 3, 4 >> (axis + 2) % 3
    ring = [0, u, u | v, v]
    return [corner | side * (4 >> axis) for corner in (ring if side else ring[::-1])]


def _edge_between(first: int, second: int) -> int:
    """Number of the edge between two adjacent corners."""
    return 3 * min(first, second) + {4: 0, 2: 1, 1: 2}[first ^ second]


def _edge_midpoint(edge: int) -> NDArray[np.float64]:
    corner, axis = divmod(edge, 3)
    middle = np.array([corner >> 2, corner >> 1 & 1, corner & 1], dtype=np.float64)
    middle[axis] += 0.5
    return middle


def _diagonal_length(first: int, second: int) -> float:
    """Length of the diagonal between two edge midpoints.

    It is infinite within one cell face, where the diagonal could intersect the surface of the adjacent cell.
    """
    a, b = _edge_midpoint(first), _edge_midpoint(second)
    return np.inf if np.any((a == b) & (a % 1 == 0)) else float(np.linalg.norm(a - b))


def _triangulate(loop: list[int]) -> list[tuple[int, int, int]]:
    """Triangulate a polygon so that the total length of its diagonals is minimal, by dynamic programming."""
    n = len(loop)

    @cache
    def best(i: int, j: int) -> tuple[float, tuple[tuple[int, int, int], ...]]:
        if j - i < 2:
            return 0.0, ()
        options = []
        for k in range(i + 1, j):
            cost = sum(_diagonal_length(loop[a], loop[b]) for a, b in ((i, k), (k, j)) if b - a > 1)
            left, right = best(i, k), best(k, j)
            options.append((cost + left[0] + right[0], (*left[1], (loop[i], loop[k], loop[j]), *right[1])))
        return min(options, key=lambda option: option[0])

    cost, triangles = best(0, n - 1)
    assert np.isfinite(cost), loop
    return list(triangles)


@compiled()
def _number_crossed_edges(table: Ints, corner: Ints, value: NDArray[np.float32]) -> tuple[Ints, NDArray[np.uint8], int]:
    """Number the crossed edges.

    Returns:
        For each lattice vertex, the number of its first crossed upward edge (B, 512) and the crossed ones among its
        three upward edges as bits (B, 512); and the count of crossed edges.
    """
    base = np.zeros(value.shape, dtype=np.int32)
    edges = np.zeros(value.shape, dtype=np.uint8)
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    count = 0
    for row in range(len(corner)):
        load_halo(table, corner, value, row, halo)
        for x in range(BLOCK_SIDE):
            for y in range(BLOCK_SIDE):
                for z in range(BLOCK_SIDE):
                    here, local = halo[x, y, z], x << 6 | y << 3 | z
                    base[row, local] = count
                    for axis in range(3):
                        there = halo[x + (axis == 0), y + (axis == 1), z + (axis == 2)]
                        if (here < 0 and there >= 0) or (here >= 0 and there < 0):
                            edges[row, local] |= 1 << axis
                            count += 1
    return base, edges, count


@compiled()
def _interpolate_vertices(
    table: Ints, corner: Ints, value: NDArray[np.float32], base: Ints, edges: NDArray[np.uint8], count: int
) -> NDArray[np.float64]:
    """Zeros of the linear interpolant on the crossed edges, (count, 3), in storage vertex coordinates."""
    vertices = np.empty((count, 3))
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        crossed = 0
        for local in range(BLOCK_VOLUME):
            crossed |= edges[row, local]
        if crossed == 0:
            continue
        load_halo(table, corner, value, row, halo)
        for local in range(BLOCK_VOLUME):
            number = base[row, local]
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            for axis in range(3):
                if not edges[row, local] >> axis & 1:
                    continue
                here = float(halo[x, y, z])
                there = float(halo[x + (axis == 0), y + (axis == 1), z + (axis == 2)])
                t = 1.0 if np.isinf(here) else here / (here - there)  # 0 when the other end is infinite
                vertices[number, 0] = corner[row, 0] * BLOCK_SIDE + x
                vertices[number, 1] = corner[row, 1] * BLOCK_SIDE + y
                vertices[number, 2] = corner[row, 2] * BLOCK_SIDE + z
                vertices[number, axis] += min(max(t, _VERTEX_MARGIN), 1 - _VERTEX_MARGIN)
                number += 1
    return vertices


@compiled()
def _assemble_triangles(
    table: Ints, corner: Ints, value: NDArray[np.float32], base: Ints, edges: NDArray[np.uint8],
    triangles: NDArray[np.int8], sizes: NDArray[np.int8], expected: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Faces (F, 3) of all complete cells, as numbers of crossed edges; memory is allocated for the expected number."""
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    faces = np.empty((max(1024, expected), 3), dtype=np.int64)
    count = 0
    for row in range(len(corner)):
        load_halo(table, corner, value, row, halo)
        for x in range(BLOCK_SIDE):
            for y in range(BLOCK_SIDE):
                for z in range(BLOCK_SIDE):
                    case = _cell_case(halo, x, y, z)
                    for i in range(sizes[case] if case >= 0 else 0):
                        if count == len(faces):
                            larger = np.empty((2 * count, 3), dtype=np.int64)
                            for old in range(count):
                                for j in range(3):
                                    larger[old, j] = faces[old, j]
                            faces = larger
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
    return faces[:count]


@compiled()
def _cell_case(halo: NDArray[np.float32], x: int, y: int, z: int) -> int:
    """Case of a cell, the inside corners as bits; -1 if a corner is absent."""
    case = 0
    for c in range(8):
        v = halo[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)]
        if np.isnan(v):
            return -1
        case |= (v < 0) << c
    return case
