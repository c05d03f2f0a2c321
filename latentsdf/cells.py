"""Sparse sets of lattice cells: subdivision, dilation, vertices, and marching cubes on blocks welded into one mesh.

A cell is named by its lowest vertex, and cells and vertices by one int64 key: (i * S + j) * S + k with S = N + 1 for
N cells per axis. Memory follows the number of cells, never (N + 1)^3.
"""

from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from skimage.measure import marching_cubes

Keys = Int64[NDArray[np.int64], " M"]

_BLOCK = 32
_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


@dataclass(frozen=True)
class Lattice:
    """A lattice of `resolution` cells per axis over [-1, 1]^3."""

    resolution: int

    @property
    def side(self) -> int:
        """Vertices per axis."""
        return self.resolution + 1

    def keys(self, coordinates: NDArray[np.int64]) -> Keys:
        """(M, 3) -> keys."""
        return (coordinates[:, 0] * self.side + coordinates[:, 1]) * self.side + coordinates[:, 2]

    def coordinates(self, keys: Keys) -> NDArray[np.int64]:
        """Keys -> (M, 3)."""
        plane, k = np.divmod(keys, self.side)
        i, j = np.divmod(plane, self.side)
        return np.stack((i, j, k), axis=1)

    def positions(self, keys: Keys, offset: float = 0.0) -> Float[NDArray[np.float32], "M 3"]:
        """Model-space positions of vertices; `offset` 0.5 for cell centres."""
        return ((self.coordinates(keys) + offset) * (2 / self.resolution) - 1).astype(np.float32)

    def all_cells(self) -> Keys:
        """Every cell."""
        axis = np.arange(self.resolution)
        return self.keys(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3))

    def vertices(self, cells: Keys) -> Keys:
        """Sorted vertices of the cells (sorted)."""
        return self._spread(cells, 0, 1, self.side)

    def children(self, cells: Keys) -> tuple["Lattice", Keys]:
        """The lattice of twice the resolution, and the eight cells in each cell."""
        finer = Lattice(2 * self.resolution)
        children = self.coordinates(cells)[:, None] * 2 + _CORNERS
        return finer, finer.keys(children.reshape(-1, 3))

    def dilate(self, cells: Keys, distance: int) -> Keys:
        """Sorted cells within a Chebyshev distance of the cells (sorted)."""
        return self._spread(cells, distance, distance, self.resolution)

    def _spread(self, keys: Keys, before: int, after: int, limit: int) -> Keys:
        """Union of the boxes from -before to +after around the keys, cut at [0, limit) on each axis.

        One axis at a time: with that axis running fastest the union is a merge of intervals.
        """
        for _ in range(3):
            keys = _merge_intervals(keys, before, after, limit, self.side)
            i, j, k = self.coordinates(keys).T
            # Three turns of (i, j, k) -> (k, i, j) bring every axis to the front once and end where they began.
            keys = np.sort((k * self.side + i) * self.side + j)
        return keys

    def sign_changes(self, cells: Keys, vertices: Keys, values: NDArray[np.float32]) -> Keys:
        """The cells (sorted) whose corners have values on both sides of zero; `vertices` sorted with their `values`."""
        corners = _corner_rows(cells, vertices, self.keys(_CORNERS))
        inside = values[corners] < 0
        return cells[inside.any(1) & ~inside.all(1)]


@dataclass(frozen=True)
class Surface:
    """Triangles in lattice coordinates: `vertices` (V, 3), `faces` (F, 3), outward counter-clockwise."""

    vertices: Float[NDArray[np.float64], "V 3"]
    faces: Int64[NDArray[np.int64], "F 3"]


def march(lattice: Lattice, cells: Keys, vertices: Keys, values: Float[NDArray[np.float32], " M"]) -> Surface:
    """Marching cubes (Lewiner et al. 2003) on the cells that change sign.

    `vertices` are sorted and hold all corners of the cells. Blocks of 32^3 cells are marched one by one; vertices on
    shared block faces come from the same two values and are welded exactly, so a closed level set gives a closed mesh.
    """
    # Values this near zero would put vertices of several edges on one point, and the weld would merge them.
    tiny = np.float32(1e-5 * 2 / lattice.resolution)
    values = np.where(np.abs(values) < tiny, np.where(values < 0, -tiny, tiny), values)
    crossing = lattice.sign_changes(cells, vertices, values)
    block_of = lattice.coordinates(crossing) // _BLOCK
    blocks = np.unique(block_of, axis=0)
    known_block = lattice.coordinates(vertices) // _BLOCK
    per_block = _rows_by_block(known_block, lattice.resolution // _BLOCK + 2)
    points, faces, count = [], [], 0
    for block in blocks:
        origin = block * _BLOCK
        volume = _volume(lattice, origin, per_block, vertices, values)
        local, triangles, _, _ = marching_cubes(volume, 0.0, gradient_direction="descent")
        points.append(local.astype(np.float64) + origin)
        faces.append(triangles.astype(np.int64) + count)
        count += len(local)
    return _weld(np.concatenate(points), np.concatenate(faces))


def _rows_by_block(blocks: NDArray[np.int64], side: int) -> dict[tuple[int, int, int], NDArray[np.int64]]:
    """Row numbers of the vertices in each block."""
    key = (blocks[:, 0] * side + blocks[:, 1]) * side + blocks[:, 2]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    groups = np.split(order, starts[1:])
    return {tuple(blocks[group[0]].tolist()): group for group in groups}


def _volume(
    lattice: Lattice,
    origin: NDArray[np.int64],
    per_block: dict[tuple[int, int, int], NDArray[np.int64]],
    vertices: Keys,
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Dense values of one block's vertices; unknown ones get the sign of their known neighbours.

    No cell outside the given ones changes sign, so copying signs along the axes is exact.
    """
    size = np.minimum(_BLOCK, lattice.resolution - origin) + 1
    volume = np.full(size, np.nan, dtype=np.float32)
    first = origin // _BLOCK
    rows = [per_block[key] for corner in _CORNERS if (key := tuple((first + corner).tolist())) in per_block]
    known = np.concatenate(rows)
    local = lattice.coordinates(vertices[known]) - origin
    fits = (local < size).all(1)
    volume[tuple(local[fits].T)] = values[known[fits]]
    for axis in (2, 1, 0):
        _fill_along(volume, axis)
    return volume


def _fill_along(volume: NDArray[np.float32], axis: int) -> None:
    """Copy known values forward, then backward, over unknown ones along one axis."""
    view = np.moveaxis(volume, axis, 0)
    for step in range(1, len(view)):
        np.copyto(view[step], view[step - 1], where=np.isnan(view[step]))
    for step in range(len(view) - 2, -1, -1):
        np.copyto(view[step], view[step + 1], where=np.isnan(view[step]))


def _weld(points: NDArray[np.float64], faces: NDArray[np.int64]) -> Surface:
    """Merge equal vertices on block faces; drop triangles that collapse."""
    shared = np.flatnonzero((points % _BLOCK == 0).any(1))
    _, first, inverse = np.unique(points[shared], axis=0, return_index=True, return_inverse=True)
    target = np.arange(len(points))
    target[shared] = shared[first][inverse.ravel()]
    used, compact = np.unique(target, return_inverse=True)
    faces = compact[faces]
    flat = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    return Surface(points[used], faces[~flat])


@numba.njit(cache=True)
def _merge_intervals(keys, before, after, limit, side):  # type: ignore[no-untyped-def]
    """Union of [key - before, key + after] within each row of the fastest axis, for sorted keys."""
    out = np.empty(len(keys) * (before + after + 1), dtype=np.int64)
    count = 0
    last = np.int64(-1)
    for key in keys:
        row = key // side * side
        start = max(row, key - before, last + 1)
        stop = min(row + limit - 1, key + after)
        for value in range(start, stop + 1):
            out[count] = value
            count += 1
        last = max(last, stop)
    return out[:count].copy()


@numba.njit(cache=True)
def _corner_rows(cells, vertices, offsets):  # type: ignore[no-untyped-def]
    """Row in `vertices` of each cell's eight corners; both sorted, so eight cursors only move forward."""
    rows = np.empty((len(cells), 8), dtype=np.int64)
    for corner in range(8):
        cursor = 0
        for n in range(len(cells)):
            wanted = cells[n] + offsets[corner]
            while vertices[cursor] < wanted:
                cursor += 1
            rows[n, corner] = cursor
    return rows
