"""A lattice stored only near a surface, in blocks of 8^3 vertices.

A lattice of R cells per axis on [-1, 1]^3 gets one more layer of vertices on every side, outside the box and worth
+inf, so that a surface cut by the box is closed there. Stored vertex (p, q, r) in 0 .. R + 2 is lattice vertex
(p - 1, q - 1, r - 1); a cell is named by its lowest vertex. Block (a, b, c) owns the vertices 8 a .. 8 a + 7 of each
axis, x slowest. Masks are (B, 512) arrays beside the values. A value that is NaN is absent.

A value is either exact, or a bound: a number of the right sign and at most the true magnitude.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

SIDE = 8
VOLUME = SIDE**3

Mask = NDArray[np.bool_]
Halo = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Blocks:
    """Values on part of a lattice; see `allocate`."""

    resolution: int
    table: Ints
    """(n, n, n): row of each block, -1 where there is none."""
    corner: Ints
    """(B, 3): block coordinates of each row."""
    value: NDArray[np.float32]
    """(B, 512): signed distances, NaN where absent."""
    exact: Mask
    """(B, 512): whether the value is the field's own, not a bound."""

    def index(self, mask: Mask) -> Ints:
        """Lattice vertices (N, 3) under a mask, in -1 .. R + 1, in storage order."""
        row, local = np.divmod(np.flatnonzero(mask.reshape(-1)).astype(np.int32), np.int32(VOLUME))
        return self.corner[row] * np.int32(SIDE) + np.stack([local >> 6, local >> 3 & 7, local & 7], 1) - np.int32(1)

    def padding(self) -> Mask:
        """The stored vertices outside the box, absent or not, among those the lattice has."""
        place = self.corner[:, :, None] * SIDE + np.arange(SIDE)
        return any_axis((place == 0) | (place == self.resolution + 2)) & self.stored()

    def stored(self) -> Mask:
        """All vertices the lattice has in these blocks; the last blocks reach beyond it."""
        place = self.corner[:, :, None] * SIDE + np.arange(SIDE)
        return ~any_axis(place > self.resolution + 2)

    def like(self, wanted: Mask) -> "Blocks":
        """A copy that also has the wanted blocks (n, n, n)."""
        grown = allocate(self.resolution, wanted | (self.table >= 0))
        rows = grown.rows(self)
        grown.value[rows] = self.value
        grown.exact[rows] = self.exact
        return grown

    def rows(self, other: "Blocks") -> Ints:
        """Where the blocks of `other` are in this lattice."""
        a, b, c = other.corner.T
        return self.table[a, b, c]

    def spread(self, mask: Mask, low: int, high: int, *, padding: bool) -> tuple["Blocks", Mask]:
        """Grow a mask by `low` vertices down and `high` up every axis; returns the lattice grown to hold it.

        Stops at the box, or with `padding` one layer outside.
        """
        first, last = (0, self.resolution + 2) if padding else (1, self.resolution + 1)
        grown = self.like(_reach(self.table, self.corner, mask, low, high, self.resolution + 2))
        result = np.zeros(grown.value.shape, dtype=bool)
        result[grown.rows(self)] = mask
        for axis in range(3):
            result = _spread(grown.table, grown.corner, result, axis, low, high, first, last)
        return grown, result


def any_axis(axes: NDArray[np.bool_]) -> Mask:
    """Vertices (B, 512) marked on any axis, from marks (B, 3, 8) along each."""
    x, y, z = axes[:, 0], axes[:, 1], axes[:, 2]
    return (x[:, :, None, None] | y[:, None, :, None] | z[:, None, None, :]).reshape(len(axes), VOLUME)


def allocate(resolution: int, wanted: Mask | None = None) -> Blocks:
    """An empty lattice with the wanted blocks (n, n, n), n = (resolution + 3) / 8 rounded up; all of them for None."""
    n = -(-(resolution + 3) // SIDE)
    if wanted is None:
        wanted = np.ones((n, n, n), dtype=bool)
    corner = np.argwhere(wanted).astype(np.int32)
    table = np.full((n, n, n), -1, dtype=np.int32)
    table[wanted] = np.arange(len(corner), dtype=np.int32)
    value = np.full((len(corner), VOLUME), np.nan, dtype=np.float32)
    return Blocks(resolution, table, corner, value, np.zeros(value.shape, dtype=bool))


def lookup(blocks: Blocks, index: Ints) -> NDArray[np.float32]:
    """Values at lattice vertices (N, 3), NaN where absent."""
    place = index + np.int32(1)
    block, local = place >> 3, place & 7
    row = blocks.table[block[:, 0], block[:, 1], block[:, 2]]
    value = blocks.value[row, (local[:, 0] << 6) | (local[:, 1] << 3) | local[:, 2]]
    return np.where(row < 0, np.float32(np.nan), value)


@compiled()
def load(table: Ints, corner: Ints, value: NDArray[np.float32], row: int, halo: Halo) -> None:
    """Fill halo (9, 9, 9) with a block and the next vertices of its upper neighbours."""
    n = table.shape[0]
    for x in range(SIDE + 1):
        a, lx = corner[row, 0] + (x >> 3), (x & 7) << 6
        for y in range(SIDE + 1):
            b, ly = corner[row, 1] + (y >> 3), (y & 7) << 3
            if a >= n or b >= n:
                halo[x, y, :] = np.nan
                continue
            near = table[a, b, corner[row, 2]]
            for z in range(SIDE):
                halo[x, y, z] = value[near, lx | ly | z] if near >= 0 else np.nan
            far = table[a, b, corner[row, 2] + 1] if corner[row, 2] + 1 < n else -1
            halo[x, y, SIDE] = value[far, lx | ly] if far >= 0 else np.nan


@compiled()
def _reach(table: Ints, corner: Ints, mask: Mask, low: int, high: int, last: int) -> Mask:
    """Blocks met by the bounding box of each block's part of the mask, grown."""
    wanted = np.zeros(table.shape, dtype=np.bool_)
    least, most = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for row in range(len(corner)):
        least[:], most[:] = SIDE, -1
        for local in range(VOLUME):
            if mask[row, local]:
                for axis in range(3):
                    at = local >> (6 - 3 * axis) & 7
                    least[axis], most[axis] = min(least[axis], at), max(most[axis], at)
        if most[0] < 0:
            continue
        for axis in range(3):
            least[axis] = max(corner[row, axis] * SIDE + least[axis] - low, 0) >> 3
            most[axis] = min(corner[row, axis] * SIDE + most[axis] + high, last) >> 3
        wanted[least[0] : most[0] + 1, least[1] : most[1] + 1, least[2] : most[2] + 1] = True
    return wanted


@compiled()
def _spread(table: Ints, corner: Ints, mask: Mask, axis: int, low: int, high: int, first: int, last: int) -> Mask:
    result = np.zeros(mask.shape, dtype=np.bool_)
    shift = 6 - 3 * axis
    block = np.empty(3, dtype=np.int64)
    for row in range(len(corner)):
        for local in range(VOLUME):
            if not mask[row, local]:
                continue
            at = corner[row, axis] * SIDE + (local >> shift & 7)
            rest = local & ~(7 << shift)
            block[:] = corner[row]
            for to in range(max(at - low, first), min(at + high, last) + 1):
                block[axis] = to >> 3
                result[table[block[0], block[1], block[2]], rest | (to & 7) << shift] = True
    return result
