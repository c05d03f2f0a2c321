"""Scan conversion of convex regions on a lattice, and a sparse store of the vertices they contain, in lattice units.

A region is the intersection of a box with half-spaces a_q . x <= b_q. In the lattice row (i, j), half-space q limits k
to

    k <= (b_q - a_q0 i - a_q1 j) / a_q2   if a_q2 > 0,      k >= (b_q - a_q0 i - a_q1 j) / a_q2   if a_q2 < 0,

so the row meets the region in one interval. The store is a table of blocks of 8^3 vertices that are allocated on first
use; each vertex keeps its smallest squared distance and the face at this distance.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.vector3 import Vector3, row
from latentsdf.utils.numba_cache import compiled

SLACK = 1e-6
"""Amount by which regions are enlarged, so that rounding may add candidates but never lose one."""
_MIN_SLOPE = 0.1  # rays with a smaller x component stay near one plane of the lattice over most of the band
_MIN_CLIPPED_SPAN = 2.0  # cells; a shorter extent is not worth clipping
_BLOCK = 8

Floats = NDArray[np.float64]


@compiled(nogil=True)
def empty_block_store(resolution: int) -> Any:
    """Create an empty store.

    Returns:
        Table of block numbers, -1 for blocks not allocated; squared distances and faces per block (capacity, 8^3); and
        the number of blocks in use.
    """
    side = resolution // _BLOCK + 1
    return (
        np.full((side, side, side), -1, np.int32),
        np.full((256, _BLOCK**3), np.float32(np.inf)),
        np.full((256, _BLOCK**3), np.int32(-1)),
        np.int64(0),  # a literal 0 has a type of its own, for which all that use the store would be compiled once more
    )


class Region(NamedTuple):
    """Region around a vertex, edge or face, in arrays that are reused for all regions.

    The region consists of the points c + l r for points c of the feature, unit rays r and lengths 0 <= l <= w
    (|l| <= w for a face), intersected with the half-spaces.
    """

    corners: Floats
    """(3, 3) corners of the feature; only the first 1, 2 or 3 are used."""
    low: Floats
    """(3,) lower bound of the offset l r."""
    high: Floats
    """(3,) upper bound of the offset l r."""
    rays: Floats
    """(2, 3) bounding box of the unit rays."""
    planes: Floats
    """(M, 4) half-spaces planes[q, :3] . x <= planes[q, 3]."""
    bounds: Floats
    """(M, 4) workspace of `scan_convert_region`."""


class Slab(NamedTuple):
    """Part begin <= i < end of a lattice."""

    resolution: int
    """Cells per axis."""
    band: float
    """Band width w in cells."""
    begin: int
    """First plane i."""
    end: int
    """Last plane i, exclusive."""


@compiled(nogil=True)
def scan_convert_region(region: Region, count: int, m: int, axis: Vector3, face: int, slab: Slab, store: Any) -> Any:
    """Update all lattice vertices of a region with their distance to its feature.

    Args:
        region: The region.
        count: Number of corners of the feature: 1 for a vertex, 2 for an edge, 3 for a face.
        m: Number of half-spaces in use.
        axis: Unit direction of an edge or unit normal of a face; unused for a vertex.
        face: Face to store for the updated vertices.
        slab: Part of the lattice to update.
        store: Block store.

    Returns:
        The store; its arrays are replaced when they are full.
    """
    corners, low, high, rays, planes, bounds = region
    resolution, band, begin, end = slab
    table, squared, closest, used = store
    limit = np.float32(band * band * (1 + 1e-6))
    a = row(corners, np.int64(0))
    first_x, last_x, first_y, last_y, first_z, last_z = a[0], a[0], a[1], a[1], a[2], a[2]
    for s in range(1, count):
        first_x, last_x = min(first_x, corners[s, 0]), max(last_x, corners[s, 0])
        first_y, last_y = min(first_y, corners[s, 1]), max(last_y, corners[s, 1])
        first_z, last_z = min(first_z, corners[s, 2]), max(last_z, corners[s, 2])
    upper = _row_bounds(planes, m, bounds)
    steep = rays[0, 0] > _MIN_SLOPE or rays[1, 0] < -_MIN_SLOPE
    shortest = -band if count == 3 else 0.0
    i0 = max(begin, int(np.ceil(first_x + low[0] - SLACK)))
    i1 = min(end - 1, int(np.floor(last_x + high[0] + SLACK)))
    z0 = max(0.0, np.ceil(first_z + low[2] - SLACK))
    z1 = min(float(resolution), np.floor(last_z + high[2] + SLACK))
    for i in range(i0, i1 + 1):
        y0, y1 = first_y, last_y
        if last_y - first_y > _MIN_CLIPPED_SPAN:
            y0, y1 = _clip_y_range(corners, count, i - high[0] - SLACK, i - low[0] + SLACK)
        down, up = low[1], high[1]
        if steep:  # lengths l of the rays that reach this plane of the lattice
            t0, t1 = _interval_product(i - last_x, i - first_x, 1 / rays[0, 0], 1 / rays[1, 0])
            down, up = _interval_product(max(shortest, t0 - 0.1), min(band, t1 + 0.1), rays[0, 1], rays[1, 1])
        j0 = max(0, int(np.ceil(y0 + down - SLACK)))
        j1 = min(resolution, int(np.floor(y1 + up + SLACK)))
        for q in range(m):
            bounds[q, 3] = bounds[q, 0] + bounds[q, 1] * i
        for j in range(j0, j1 + 1):
            first, last = z0, z1
            for q in range(upper):
                last = min(last, bounds[q, 3] + bounds[q, 2] * j)
            for q in range(upper, m):
                first = max(first, bounds[q, 3] + bounds[q, 2] * j)
            if first > last:
                continue
            x, y = i - a[0], j - a[1]
            for k in range(int(np.ceil(first)), int(np.floor(last)) + 1):
                z = k - a[2]
                if count == 3:
                    d = (x * axis[0] + y * axis[1] + z * axis[2]) ** 2
                elif count == 2:
                    t = x * axis[0] + y * axis[1] + z * axis[2]
                    d = (x - t * axis[0]) ** 2 + (y - t * axis[1]) ** 2 + (z - t * axis[2]) ** 2
                else:
                    d = x * x + y * y + z * z
                if d <= limit:
                    block = table[i // _BLOCK, j // _BLOCK, k // _BLOCK]
                    if block < 0:
                        if used == len(squared):
                            squared, closest = _with_twice_the_blocks(squared, closest)
                        block = used
                        table[i // _BLOCK, j // _BLOCK, k // _BLOCK] = block
                        used += 1
                    cell = ((i % _BLOCK) * _BLOCK + j % _BLOCK) * _BLOCK + k % _BLOCK
                    if np.float32(d) < squared[block, cell]:
                        squared[block, cell] = d
                        closest[block, cell] = face
    return table, squared, closest, used


@compiled(nogil=True)
def _with_twice_the_blocks(squared: Any, closest: Any) -> Any:
    """Copy the squared distances and faces of a store that is full into arrays of twice the capacity."""
    used = len(squared)
    larger = np.full((2 * used, _BLOCK**3), np.float32(np.inf))
    faces = np.full((2 * used, _BLOCK**3), np.int32(-1))
    for b in range(used):
        for c in range(_BLOCK**3):
            larger[b, c], faces[b, c] = squared[b, c], closest[b, c]
    return larger, faces


@compiled(nogil=True)
def _interval_product(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """Product of the intervals [a, b] and [c, d]."""
    return min(a * c, a * d, b * c, b * d), max(a * c, a * d, b * c, b * d)


@compiled(nogil=True)
def _row_bounds(planes: Floats, m: int, bounds: Floats) -> int:
    """Write the bounds e0 + e1 i + e2 j of k in row (i, j) for each half-space; upper bounds precede lower bounds.

    Returns:
        Number of upper bounds.
    """
    upper, lower = 0, m
    for q in range(m):
        c = planes[q, 2]
        if abs(c) < 1e-12:
            c = 1e-12  # parallel to the rows: the bound becomes very large on one side and very small on the other
        if c > 0:
            slot, upper = upper, upper + 1
        else:
            lower -= 1
            slot = lower
        c = 1 / c
        bounds[slot, 0], bounds[slot, 1], bounds[slot, 2] = planes[q, 3] * c, -planes[q, 0] * c, -planes[q, 1] * c
    return upper


@compiled(nogil=True)
def _clip_y_range(corners: Floats, count: int, x0: float, x1: float) -> tuple[float, float]:
    """Range of y over the part of a segment or triangle with x0 <= x <= x1."""
    y0, y1 = np.inf, -np.inf
    for s in range(count):
        a, b = row(corners, s), row(corners, (s + 1) % count)
        if x0 <= a[0] <= x1:
            y0, y1 = min(y0, a[1]), max(y1, a[1])
        for x in (x0, x1):
            if (a[0] - x) * (b[0] - x) < 0:
                y = a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0])
                y0, y1 = min(y0, y), max(y1, y)
    return y0, y1


@compiled(nogil=True)
def collect_band(store: Any, resolution: int, band: float) -> Any:
    """Sorted linear indices (B,), distances (B,) and faces (B,) of the stored vertices with a distance within the band.

    The first pass counts the vertices, the second copies them.
    """
    table, squared, closest, _ = store
    limit = np.float32(band)
    size = resolution + 1
    count = 0
    for b in range(len(squared)):
        for c in range(_BLOCK**3):
            count += np.sqrt(squared[b, c]) <= limit
    index = np.empty(count, np.uint32)
    distance = np.empty(count, np.float32)
    face = np.empty(count, np.int32)
    count = 0
    for i in range(size):
        for j in range(size):
            inner = ((i % _BLOCK) * _BLOCK + j % _BLOCK) * _BLOCK
            for kb in range(table.shape[2]):
                block = table[i // _BLOCK, j // _BLOCK, kb]
                if block >= 0:
                    for c in range(_BLOCK):
                        d = np.sqrt(squared[block, inner + c])
                        if d <= limit:
                            index[count] = (i * size + j) * size + kb * _BLOCK + c
                            distance[count] = d
                            face[count] = closest[block, inner + c]
                            count += 1
    return index, distance, face
