"""Sparse storage of lattice values near a surface, in blocks of 8^3 vertices.

A lattice with R cells per axis covers [-1, 1]^3. It is padded by one layer of vertices on every side; padding vertices
lie outside the box and have the value +inf, which closes a surface that the box cuts.

Indices: storage vertex (p, q, r) in 0 .. R + 2 is lattice vertex (i, j, k) = (p - 1, q - 1, r - 1) at position
-1 + 2 (i, j, k) / R. A cell has the index of its lowest vertex. Block (a, b, c) stores vertices 8 a .. 8 a + 7 along
each axis, with local index 64 x + 8 y + z. Masks are boolean arrays (B, 512) parallel to the values.

Values: NaN marks an absent vertex. A present value is either exact (an evaluation of the field) or a bound: a number of
the same sign as the field and of at most its magnitude.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

BLOCK_SIDE = 8
BLOCK_VOLUME = BLOCK_SIDE**3

Mask = NDArray[np.bool_]
Halo = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class SparseLattice:
    """Field values on the vertices of some blocks of a lattice; create one with `allocate`."""

    resolution: int
    """Cells per axis of [-1, 1]^3."""
    table: Ints
    """(n, n, n): row of each block, -1 for blocks that are not stored."""
    corner: Ints
    """(B, 3): block coordinates of each row."""
    value: NDArray[np.float32]
    """(B, 512): signed distances, NaN where absent."""
    exact: Mask
    """(B, 512): True for evaluations of the field, False for bounds and absent values."""

    def vertex_indices(self, mask: Mask) -> Ints:
        """Lattice indices (N, 3) of the masked vertices, each in -1 .. R + 1, in storage order."""
        row, local = np.divmod(np.flatnonzero(mask.reshape(-1)).astype(np.int32), np.int32(BLOCK_VOLUME))
        offset = np.stack([local >> 6, local >> 3 & 7, local & 7], 1)
        return self.corner[row] * np.int32(BLOCK_SIDE) + offset - np.int32(1)

    def vertex_mask(self) -> Mask:
        """Stored vertices that belong to the padded lattice; the last block of an axis can extend past it."""
        position = self.corner[:, :, None] * BLOCK_SIDE + np.arange(BLOCK_SIDE)
        return ~any_axis(position > self.resolution + 2)

    def padding_mask(self) -> Mask:
        """Stored vertices of the padding layer, whether their values are absent or not."""
        position = self.corner[:, :, None] * BLOCK_SIDE + np.arange(BLOCK_SIDE)
        return any_axis((position == 0) | (position == self.resolution + 2)) & self.vertex_mask()

    def with_blocks(self, wanted: Mask) -> "SparseLattice":
        """Return a copy that also stores the wanted blocks (n, n, n)."""
        grown = allocate(self.resolution, wanted | (self.table >= 0))
        rows = grown.rows_of(self)
        grown.value[rows] = self.value
        grown.exact[rows] = self.exact
        return grown

    def rows_of(self, other: "SparseLattice") -> Ints:
        """Rows (B',) in this lattice of the blocks of `other`, -1 for blocks that are not stored here."""
        a, b, c = other.corner.T
        return self.table[a, b, c]

    def dilate(self, mask: Mask, low: int, high: int, *, padding: bool) -> tuple["SparseLattice", Mask]:
        """Dilate a vertex or cell mask with a box-shaped structuring element.

        Args:
            mask: (B, 512) vertices or cells of this lattice.
            low: Steps of the dilation toward lower indices, along every axis.
            high: Steps toward higher indices.
            padding: Whether the dilation may enter the padding layer; otherwise it stops at the box.

        Returns:
            This lattice with the blocks that the dilated mask needs, and the dilated mask on it.
        """
        first, last = (0, self.resolution + 2) if padding else (1, self.resolution + 1)
        grown = self.with_blocks(_dilated_blocks(self.table, self.corner, mask, low, high, self.resolution + 2))
        result = np.zeros(grown.value.shape, dtype=bool)
        result[grown.rows_of(self)] = mask
        for axis in range(3):
            result = _dilate_axis(grown.table, grown.corner, result, axis, low, high, first, last)
        return grown, result


def any_axis(axes: NDArray[np.bool_]) -> Mask:
    """Combine per-axis marks (B, 3, 8) into a vertex mask (B, 512) by logical or."""
    x, y, z = axes[:, 0], axes[:, 1], axes[:, 2]
    return (x[:, :, None, None] | y[:, None, :, None] | z[:, None, None, :]).reshape(len(axes), BLOCK_VOLUME)


def allocate(resolution: int, wanted: Mask | None = None) -> SparseLattice:
    """Allocate a lattice whose values are all absent.

    Args:
        resolution: Cells R per axis.
        wanted: (n, n, n) blocks to store, n = ceil((R + 3) / 8); None stores all of them.

    Returns:
        A lattice with NaN values.
    """
    n = -(-(resolution + 3) // BLOCK_SIDE)
    if wanted is None:
        wanted = np.ones((n, n, n), dtype=bool)
    corner = np.argwhere(wanted).astype(np.int32)
    table = np.full((n, n, n), -1, dtype=np.int32)
    table[wanted] = np.arange(len(corner), dtype=np.int32)
    value = np.full((len(corner), BLOCK_VOLUME), np.nan, dtype=np.float32)
    return SparseLattice(resolution, table, corner, value, np.zeros(value.shape, dtype=bool))


def from_values(resolution: int, index: Ints, value: NDArray[np.float32]) -> SparseLattice:
    """Return a lattice with the blocks of some vertices, at which it has bounds, and all others absent.

    Args:
        resolution: Cells per axis.
        index: Lattice indices (N, 3).
        value: Values (N,) at these vertices.
    """
    n = -(-(resolution + 3) // BLOCK_SIDE)
    wanted = np.zeros((n, n, n), dtype=bool)
    block, local = _places(index)
    wanted[block] = True
    lattice = allocate(resolution, wanted)
    lattice.value[lattice.table[block], local] = value
    return lattice


def lookup(lattice: SparseLattice, index: Ints) -> NDArray[np.float32]:
    """Values (N,) at lattice indices (N, 3), NaN where absent."""
    block, local = _places(index)
    row = lattice.table[block]
    return np.where(row < 0, np.float32(np.nan), lattice.value[row, local])


def _places(index: Ints) -> tuple[tuple[Ints, Ints, Ints], Ints]:
    """Return the coordinates of the blocks of vertices with lattice indices (N, 3), and their local indices (N,)."""
    x, y, z = (index + np.int32(1)).T
    return (x >> 3, y >> 3, z >> 3), (x & 7) << 6 | (y & 7) << 3 | z & 7


@compiled()
def load_halo(table: Ints, corner: Ints, value: NDArray[np.float32], row: int, halo: Halo) -> None:
    """Copy a block and the adjacent vertices of its upper neighbors into `halo` (9, 9, 9), NaN where absent.

    Args:
        table: Rows of the blocks (n, n, n), -1 for blocks that are not stored.
        corner: Block coordinates (B, 3) of each row.
        value: Values (B, 512) of the vertices.
        row: Row of the block to copy.
        halo: Output, overwritten.
    """
    n = table.shape[0]
    for x in range(BLOCK_SIDE + 1):
        a, lx = corner[row, 0] + (x >> 3), (x & 7) << 6
        for y in range(BLOCK_SIDE + 1):
            b, ly = corner[row, 1] + (y >> 3), (y & 7) << 3
            if a >= n or b >= n:
                for z in range(BLOCK_SIDE + 1):
                    halo[x, y, z] = np.nan
                continue
            near = table[a, b, corner[row, 2]]
            for z in range(BLOCK_SIDE):
                halo[x, y, z] = value[near, lx | ly | z] if near >= 0 else np.nan
            far = table[a, b, corner[row, 2] + 1] if corner[row, 2] + 1 < n else -1
            halo[x, y, BLOCK_SIDE] = value[far, lx | ly] if far >= 0 else np.nan


@compiled()
def _dilated_blocks(table: Ints, corner: Ints, mask: Mask, low: int, high: int, last: int) -> Mask:
    """Blocks (n, n, n) that intersect the dilated bounding box of the masked vertices of any block."""
    wanted = np.zeros(table.shape, dtype=np.bool_)
    least, most = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for row in range(len(corner)):
        for axis in range(3):
            least[axis], most[axis] = BLOCK_SIDE, -1
        for local in range(BLOCK_VOLUME):
            if mask[row, local]:
                for axis in range(3):
                    at = local >> (6 - 3 * axis) & 7
                    least[axis], most[axis] = min(least[axis], at), max(most[axis], at)
        if most[0] < 0:
            continue
        for axis in range(3):
            least[axis] = max(corner[row, axis] * BLOCK_SIDE + least[axis] - low, 0) >> 3
            most[axis] = min(corner[row, axis] * BLOCK_SIDE + most[axis] + high, last) >> 3
        for a in range(least[0], most[0] + 1):
            for b in range(least[1], most[1] + 1):
                for c in range(least[2], most[2] + 1):
                    wanted[a, b, c] = True
    return wanted


@compiled()
def _dilate_axis(table: Ints, corner: Ints, mask: Mask, axis: int, low: int, high: int, first: int, last: int) -> Mask:
    """Dilate a mask along one axis, limited to storage indices first .. last."""
    result = np.zeros(mask.shape, dtype=np.bool_)
    shift = 6 - 3 * axis
    for row in range(len(corner)):
        a, b, c = corner[row, 0], corner[row, 1], corner[row, 2]
        for local in range(BLOCK_VOLUME):
            if not mask[row, local]:
                continue
            at = corner[row, axis] * BLOCK_SIDE + (local >> shift & 7)
            rest = local & ~(7 << shift)
            for to in range(max(at - low, first), min(at + high, last) + 1):
                block = to >> 3
                if axis == 0:
                    neighbor = table[block, b, c]
                elif axis == 1:
                    neighbor = table[a, block, c]
                else:
                    neighbor = table[a, b, block]
                result[neighbor, rest | (to & 7) << shift] = True
    return result
