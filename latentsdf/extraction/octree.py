"""Where the zero set of a sparse lattice can be, and the lattice of twice the resolution around it.

A vertex between vertices of the coarser lattice need not be evaluated where the Lipschitz guard already tells its sign:
it then gets a bound (see `blocks`), which saves most evaluations.
"""

import numpy as np
from numpy.typing import NDArray

from latentsdf.extraction.sparse_lattice import SIDE, VOLUME, Blocks, Halo, Ints, Mask, allocate, any_axis, load
from latentsdf.utils.numba_cache import compiled


def refine(parent: Blocks, active: Mask, reach: float, keep: float) -> tuple[Blocks, Mask]:
    """The lattice of twice the resolution on the active cells, and which of its vertices must be evaluated.

    A vertex is left out of that mask where a neighbour's value already tells its sign and that its magnitude exceeds
    `keep`; `reach` is how much the field can change over one edge of the new lattice.
    """
    resolution = 2 * parent.resolution
    child = allocate(resolution, _child_blocks(parent.corner, active, -(-(resolution + 3) // SIDE)))
    pending = np.zeros(child.value.shape, dtype=bool)
    _seed(
        parent.table, parent.corner, parent.value, parent.exact, active, child.table, child.value, child.exact,
        pending, resolution, np.float32(reach), np.float32(keep),
    )  # fmt: skip
    return child, pending


def halve(blocks: Blocks, mask: Mask) -> tuple[Blocks, Mask]:
    """The lattice of half the resolution around some vertices, and the corners of its cells that hold them."""
    n = -(-(blocks.resolution // 2 + 3) // SIDE)
    wanted = np.zeros((n, n, n), dtype=bool)
    held = blocks.corner[mask.any(axis=1)] * np.int32(SIDE // 2)
    for step in np.ndindex(2, 2, 2):
        wanted[tuple((held + np.multiply(step, SIDE // 2) >> 3).T)] = True
    parent = allocate(blocks.resolution // 2, wanted)
    cells = np.zeros(parent.value.shape, dtype=bool)
    _mark_parents(blocks.corner, mask, parent.table, cells)
    return parent.spread(cells, 0, 1, padding=False)


def active_cells(blocks: Blocks, threshold: float) -> Mask:
    """Cells whose corners are all present, with both signs or with a magnitude up to `threshold` among them."""
    return _cells(blocks.table, blocks.corner, blocks.value, np.float32(threshold))


def crossing_cells(blocks: Blocks) -> Mask:
    """Cells inside the box whose corners are all present and of both signs."""
    return _cells(blocks.table, blocks.corner, blocks.value, np.float32(-1)) & ~_outside_cells(blocks)


def _outside_cells(blocks: Blocks) -> Mask:
    place = blocks.corner[:, :, None] * SIDE + np.arange(SIDE)
    return any_axis((place == 0) | (place > blocks.resolution))


def crossing_vertices(blocks: Blocks) -> Mask:
    """Ends of the lattice edges inside the box on which the sign changes."""
    return _ends(blocks.table, blocks.corner, blocks.value)


@compiled()
def _cells(table: Ints, corner: Ints, value: NDArray[np.float32], threshold: float) -> Mask:
    mask = np.zeros(value.shape, dtype=np.bool_)
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        load(table, corner, value, row, halo)
        for x in range(SIDE):
            for y in range(SIDE):
                for z in range(SIDE):
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
def _ends(table: Ints, corner: Ints, value: NDArray[np.float32]) -> Mask:
    mask = np.zeros(value.shape, dtype=np.bool_)
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    for row in range(len(corner)):
        load(table, corner, value, row, halo)
        for x in range(SIDE):
            for y in range(SIDE):
                for z in range(SIDE):
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
def _mark_parents(corner: Ints, mask: Mask, table: Ints, cells: Mask) -> None:
    for row in range(len(corner)):
        for local in range(VOLUME):
            if mask[row, local]:
                p = corner[row, 0] * SIDE + (local >> 6) + 1 >> 1
                q = corner[row, 1] * SIDE + (local >> 3 & 7) + 1 >> 1
                r = corner[row, 2] * SIDE + (local & 7) + 1 >> 1
                cells[table[p >> 3, q >> 3, r >> 3], (p & 7) << 6 | (q & 7) << 3 | (r & 7)] = True


@compiled()
def _child_blocks(corner: Ints, active: Mask, n: int) -> Mask:
    wanted = np.zeros((n, n, n), dtype=np.bool_)
    for row in range(len(corner)):
        for local in range(VOLUME):
            if not active[row, local]:
                continue
            p = 2 * (corner[row, 0] * SIDE + (local >> 6)) - 1
            q = 2 * (corner[row, 1] * SIDE + (local >> 3 & 7)) - 1
            r = 2 * (corner[row, 2] * SIDE + (local & 7)) - 1
            for a in range(max(p, 0) >> 3, min(p + 2 >> 3, n - 1) + 1):
                for b in range(max(q, 0) >> 3, min(q + 2 >> 3, n - 1) + 1):
                    for c in range(max(r, 0) >> 3, min(r + 2 >> 3, n - 1) + 1):
                        wanted[a, b, c] = True
    return wanted


@compiled()
def _seed(
    parent_table: Ints, parent_corner: Ints, parent_value: NDArray[np.float32], parent_exact: Mask, active: Mask,
    table: Ints, value: NDArray[np.float32], exact: Mask, pending: Mask, resolution: int, reach: float, keep: float,
) -> None:  # fmt: skip
    halo = np.empty((SIDE + 1, SIDE + 1, SIDE + 1), dtype=np.float32)
    last = resolution + 2
    for row in range(len(parent_corner)):
        load(parent_table, parent_corner, parent_value, row, halo)
        for local in range(VOLUME):
            if not active[row, local]:
                continue
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            for near in range(27):
                a, b, c = near // 9, near // 3 % 3, near % 3
                p = 2 * (parent_corner[row, 0] * SIDE + x) - 1 + a
                q = 2 * (parent_corner[row, 1] * SIDE + y) - 1 + b
                r = 2 * (parent_corner[row, 2] * SIDE + z) - 1 + c
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
                    bound = _bound(halo, x, y, z, a, b, c, reach)
                    if abs(bound) > keep:
                        value[to, at] = bound
                    else:
                        pending[to, at] = True


@compiled()
def _bound(halo: Halo, x: int, y: int, z: int, a: int, b: int, c: int, reach: float) -> float:
    """Signed bound at child vertex (a, b, c) of a cell from the parent vertices around it; 0 when it says nothing."""
    low, high = np.inf, -np.inf
    for i in range(x + a // 2, x + (a + 1) // 2 + 1):
        for j in range(y + b // 2, y + (b + 1) // 2 + 1):
            for k in range(z + c // 2, z + (c + 1) // 2 + 1):
                low, high = min(low, halo[i, j, k]), max(high, halo[i, j, k])
    change = reach * np.sqrt(float((a == 1) + (b == 1) + (c == 1)))
    if low >= 0:
        return max(high - change, 0.0)
    return min(low + change, 0.0) if high < 0 else 0.0
