"""Octree operations on sparse lattices: active and sign-changing cells, refinement and coarsening by a factor of two.

Refinement avoids most field evaluations. Let a child vertex have parent vertices with values v_i of one sign at
distance r, and let the field have Lipschitz constant L. Then its magnitude is at least max |v_i| - L r. Where this
bound is positive, it determines the sign without an evaluation, and the vertex stores it.
"""

import numpy as np
from numpy.typing import NDArray

from latentsdf.extraction.sparse_lattice import (
    BLOCK_SIDE,
    BLOCK_VOLUME,
    Halo,
    Ints,
    Mask,
    SparseLattice,
    allocate,
    any_axis,
    load_halo,
)
from latentsdf.utils.numba_cache import compiled


def refine(parent: SparseLattice, active: Mask, change_per_edge: float, min_bound: float) -> tuple[SparseLattice, Mask]:
    """Subdivide the active cells of a lattice.

    Args:
        parent: Lattice with R cells per axis.
        active: (B, 512) cells to subdivide.
        change_per_edge: Largest change of the field over one edge of the child lattice: L / R.
        min_bound: A bound replaces an evaluation only if its magnitude exceeds this number.

    Returns:
        The lattice with 2 R cells per axis, which has the parent's values at shared vertices and bounds at others, and
        the mask of its vertices that remain to be evaluated.
    """
    resolution = 2 * parent.resolution
    child = allocate(resolution, _child_blocks(parent.corner, active, -(-(resolution + 3) // BLOCK_SIDE)))
    pending = np.zeros(child.value.shape, dtype=bool)
    _initialize_children(
        parent.table, parent.corner, parent.value, parent.exact, active, child.table, child.value, child.exact,
        pending, resolution, np.float32(change_per_edge), np.float32(min_bound),
    )  # fmt: skip
    return child, pending


def coarsen(lattice: SparseLattice, mask: Mask) -> tuple[SparseLattice, Mask]:
    """Allocate the lattice of half the resolution around the masked vertices.

    Returns:
        The coarse lattice, all of whose values are absent, and the mask of the corners of its cells that contain a
        masked vertex.
    """
    n = -(-(lattice.resolution // 2 + 3) // BLOCK_SIDE)
    wanted = np.zeros((n, n, n), dtype=bool)
    occupied = lattice.corner[mask.any(axis=1)] * np.int32(BLOCK_SIDE // 2)
    for step in np.ndindex(2, 2, 2):
        wanted[tuple((occupied + np.multiply(step, BLOCK_SIDE // 2) >> 3).T)] = True
    parent = allocate(lattice.resolution // 2, wanted)
    cells = np.zeros(parent.value.shape, dtype=bool)
    _mark_parent_cells(lattice.corner, mask, parent.table, cells)
    return parent.dilate(cells, 0, 1, padding=False)


def active_cells(lattice: SparseLattice, threshold: float) -> Mask:
    """Complete cells with a sign change, or with a corner of magnitude at most `threshold`, as a mask (B, 512)."""
    return _active_cells(lattice.table, lattice.corner, lattice.value, np.float32(threshold))


def crossing_cells(lattice: SparseLattice) -> Mask:
    """Complete cells inside the box with a sign change, as a mask (B, 512)."""
    return _active_cells(lattice.table, lattice.corner, lattice.value, np.float32(-1)) & ~_padding_cells(lattice)


def _padding_cells(lattice: SparseLattice) -> Mask:
    position = lattice.corner[:, :, None] * BLOCK_SIDE + np.arange(BLOCK_SIDE)
    return any_axis((position == 0) | (position > lattice.resolution))


def crossing_vertices(lattice: SparseLattice) -> Mask:
    """Both ends of every sign-changing lattice edge inside the box, as a mask (B, 512)."""
    return _crossing_vertices(lattice.table, lattice.corner, lattice.value)


@compiled()
def _active_cells(table: Ints, corner: Ints, value: NDArray[np.float32], threshold: float) -> Mask:
    mask = np.zeros(value.shape, dtype=np.bool_)
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        load_halo(table, corner, value, row, halo)
        for x in range(BLOCK_SIDE):
            for y in range(BLOCK_SIDE):
                for z in range(BLOCK_SIDE):
                    low, high, small = np.inf, -np.inf, np.inf
                    for c in range(8):
                        v = halo[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)]
                        if np.isnan(v):
                            small = np.nan
                            break
                        low, high, small = min(low, v), max(high, v), min(small, abs(v))
                    if not np.isnan(small):
                        mask[row, x << 6 | y << 3 | z] = (low < 0 and high >= 0) or small <= threshold
    return mask


@compiled()
def _crossing_vertices(table: Ints, corner: Ints, value: NDArray[np.float32]) -> Mask:
    mask = np.zeros(value.shape, dtype=np.bool_)
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        load_halo(table, corner, value, row, halo)
        for x in range(BLOCK_SIDE):
            for y in range(BLOCK_SIDE):
                for z in range(BLOCK_SIDE):
                    here = halo[x, y, z]
                    for axis in range(3):
                        i, j, k = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                        there = halo[i, j, k]
                        if not (np.isfinite(here) and np.isfinite(there)) or (here < 0) == (there < 0):
                            continue
                        other = table[corner[row, 0] + (i >> 3), corner[row, 1] + (j >> 3), corner[row, 2] + (k >> 3)]
                        mask[row, x << 6 | y << 3 | z] = True
                        mask[other, (i & 7) << 6 | (j & 7) << 3 | (k & 7)] = True
    return mask


@compiled()
def _mark_parent_cells(corner: Ints, mask: Mask, table: Ints, cells: Mask) -> None:
    """Mark in `cells` the coarse cell whose lowest vertex is the masked vertex's index halved, rounded down."""
    for row in range(len(corner)):
        for local in range(BLOCK_VOLUME):
            if mask[row, local]:
                p = corner[row, 0] * BLOCK_SIDE + (local >> 6) + 1 >> 1
                q = corner[row, 1] * BLOCK_SIDE + (local >> 3 & 7) + 1 >> 1
                r = corner[row, 2] * BLOCK_SIDE + (local & 7) + 1 >> 1
                cells[table[p >> 3, q >> 3, r >> 3], (p & 7) << 6 | (q & 7) << 3 | (r & 7)] = True


@compiled()
def _child_blocks(corner: Ints, active: Mask, n: int) -> Mask:
    """Blocks (n, n, n) of the child lattice that the 3^3 child vertices of the active cells occupy."""
    wanted = np.zeros((n, n, n), dtype=np.bool_)
    for row in range(len(corner)):
        for local in range(BLOCK_VOLUME):
            if not active[row, local]:
                continue
            p = 2 * (corner[row, 0] * BLOCK_SIDE + (local >> 6)) - 1
            q = 2 * (corner[row, 1] * BLOCK_SIDE + (local >> 3 & 7)) - 1
            r = 2 * (corner[row, 2] * BLOCK_SIDE + (local & 7)) - 1
            for a in range(max(p, 0) >> 3, min(p + 2 >> 3, n - 1) + 1):
                for b in range(max(q, 0) >> 3, min(q + 2 >> 3, n - 1) + 1):
                    for c in range(max(r, 0) >> 3, min(r + 2 >> 3, n - 1) + 1):
                        wanted[a, b, c] = True
    return wanted


@compiled()
def _initialize_children(
    parent_table: Ints, parent_corner: Ints, parent_value: NDArray[np.float32], parent_exact: Mask, active: Mask,
    table: Ints, value: NDArray[np.float32], exact: Mask, pending: Mask, resolution: int, change_per_edge: float,
    min_bound: float,
) -> None:  # fmt: skip
    halo = np.empty((BLOCK_SIDE + 1, BLOCK_SIDE + 1, BLOCK_SIDE + 1), dtype=np.float32)
    last = resolution + 2
    for row in range(len(parent_corner)):
        load_halo(parent_table, parent_corner, parent_value, row, halo)
        for local in range(BLOCK_VOLUME):
            if not active[row, local]:
                continue
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            for offset in range(27):
                a, b, c = offset // 9, offset // 3 % 3, offset % 3
                p = 2 * (parent_corner[row, 0] * BLOCK_SIDE + x) - 1 + a
                q = 2 * (parent_corner[row, 1] * BLOCK_SIDE + y) - 1 + b
                r = 2 * (parent_corner[row, 2] * BLOCK_SIDE + z) - 1 + c
                if min(p, q, r) < 0 or max(p, q, r) > last:
                    continue
                to, at = table[p >> 3, q >> 3, r >> 3], (p & 7) << 6 | (q & 7) << 3 | (r & 7)
                if pending[to, at] or not np.isnan(value[to, at]):
                    continue
                if min(p, q, r) == 0 or max(p, q, r) == last:
                    value[to, at], exact[to, at] = np.inf, True
                elif a != 1 and b != 1 and c != 1:
                    i, j, k = x + (a >> 1), y + (b >> 1), z + (c >> 1)
                    value[to, at] = halo[i, j, k]
                    up = parent_corner[row]
                    from_row = parent_table[up[0] + (i >> 3), up[1] + (j >> 3), up[2] + (k >> 3)]
                    exact[to, at] = parent_exact[from_row, (i & 7) << 6 | (j & 7) << 3 | (k & 7)]
                else:
                    bound = _lipschitz_bound(halo, x, y, z, a, b, c, change_per_edge)
                    if abs(bound) > min_bound:
                        value[to, at] = bound
                    else:
                        pending[to, at] = True


@compiled()
def _lipschitz_bound(halo: Halo, x: int, y: int, z: int, a: int, b: int, c: int, change_per_edge: float) -> float:
    """Lipschitz bound at child vertex (a, b, c) of cell (x, y, z); 0 where it does not determine the sign.

    `a`, `b` and `c` are in 0 .. 2. The parent vertices around the child vertex all have the same distance to it: the
    square root of the number of ones among a, b, c, in child edges.
    """
    low, high = np.inf, -np.inf
    for i in range(x + a // 2, x + (a + 1) // 2 + 1):
        for j in range(y + b // 2, y + (b + 1) // 2 + 1):
            for k in range(z + c // 2, z + (c + 1) // 2 + 1):
                low, high = min(low, halo[i, j, k]), max(high, halo[i, j, k])
    change = change_per_edge * np.sqrt(float((a == 1) + (b == 1) + (c == 1)))
    if low >= 0:
        return max(high - change, 0.0)
    return min(low + change, 0.0) if high < 0 else 0.0
