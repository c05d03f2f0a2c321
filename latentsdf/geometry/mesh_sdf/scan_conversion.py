"""Convex regions on a regular lattice, row by row, and a store of the vertices that they reach; lengths in cells."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.vector3 import Vector, row
from latentsdf.utils.numba_cache import compiled

SLACK = 1e-6  # by which regions are widened, so rounding can only add candidates, never lose one
_STEEP = 0.1  # below it a ray stays in one plane of the lattice for most of the band
_WIDE = 2.0  # what spans less is not worth cutting
_BLOCK = 8

Floats = NDArray[np.float64]


@compiled(nogil=True)
def empty_store(resolution: int) -> Any:
    """A table of blocks of vertices, the squared distances and faces in these, and how many blocks there are."""
    side = resolution // _BLOCK + 1
    return (
        np.full((side, side, side), -1, np.int32),
        np.full((256, _BLOCK**3), np.float32(np.inf)),
        np.full((256, _BLOCK**3), np.int32(-1)),
        0,
    )


class Region(NamedTuple):
    """Scratch for one region: within a box, `low` to `high` (3,), about the first of `corners` (3, 3).

    It is made of steps of at most the band's width from there along unit rays in the box `rays` (2, 3), and ended by
    half-spaces `planes` (M, 4): planes[q, :3] . x <= planes[q, 3]. `ends` (M, 4) is `offer`'s own.
    """

    corners: Floats
    low: Floats
    high: Floats
    rays: Floats
    planes: Floats
    ends: Floats


class Slab(NamedTuple):
    """The part begin <= i < end of a lattice, and how far its vertices may be from a surface."""

    resolution: int
    band: float
    begin: int
    end: int


@compiled(nogil=True)
def offer(region: Region, count: int, m: int, axis: Vector, face: int, slab: Slab, store: Any) -> Any:
    """Offer the lattice vertices in a region to a vertex (1 corner), edge (2) or face (3), as the closest so far.

    `m` half-spaces count. `axis` is an edge's direction or a face's normal; steps are to both sides of a face.
    """
    corners, low, high, rays, planes, ends = region
    resolution, band, begin, end = slab
    table, squared, closest, used = store
    limit = np.float32(band * band * (1 + 1e-6))
    a = row(corners, 0)
    first_x, last_x, first_y, last_y, first_z, last_z = a[0], a[0], a[1], a[1], a[2], a[2]
    for s in range(1, count):
        first_x, last_x = min(first_x, corners[s, 0]), max(last_x, corners[s, 0])
        first_y, last_y = min(first_y, corners[s, 1]), max(last_y, corners[s, 1])
        first_z, last_z = min(first_z, corners[s, 2]), max(last_z, corners[s, 2])
    above = _ends(planes, m, ends)
    steep = rays[0, 0] > _STEEP or rays[1, 0] < -_STEEP
    shortest = -band if count == 3 else 0.0
    i0 = max(begin, int(np.ceil(first_x + low[0] - SLACK)))
    i1 = min(end - 1, int(np.floor(last_x + high[0] + SLACK)))
    z0 = max(0.0, np.ceil(first_z + low[2] - SLACK))
    z1 = min(float(resolution), np.floor(last_z + high[2] + SLACK))
    for i in range(i0, i1 + 1):
        y0, y1 = first_y, last_y
        if last_y - first_y > _WIDE:
            y0, y1 = _cut(corners, count, i - high[0] - SLACK, i - low[0] + SLACK)
        down, up = low[1], high[1]
        if steep:  # the steps that lead to this plane of the lattice
            t0, t1 = _product(i - last_x, i - first_x, 1 / rays[0, 0], 1 / rays[1, 0])
            down, up = _product(max(shortest, t0 - 0.1), min(band, t1 + 0.1), rays[0, 1], rays[1, 1])
        j0 = max(0, int(np.ceil(y0 + down - SLACK)))
        j1 = min(resolution, int(np.floor(y1 + up + SLACK)))
        for q in range(m):
            ends[q, 3] = ends[q, 0] + ends[q, 1] * i
        for j in range(j0, j1 + 1):
            first, last = z0, z1
            for q in range(above):
                last = min(last, ends[q, 3] + ends[q, 2] * j)
            for q in range(above, m):
                first = max(first, ends[q, 3] + ends[q, 2] * j)
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
                            squared = np.concatenate((squared, np.full_like(squared, np.inf)))
                            closest = np.concatenate((closest, np.full_like(closest, -1)))
                        block = used
                        table[i // _BLOCK, j // _BLOCK, k // _BLOCK] = block
                        used += 1
                    cell = ((i % _BLOCK) * _BLOCK + j % _BLOCK) * _BLOCK + k % _BLOCK
                    if np.float32(d) < squared[block, cell]:
                        squared[block, cell] = d
                        closest[block, cell] = face
    return table, squared, closest, used


@compiled(nogil=True)
def _product(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """The least and the largest product of a number from a to b and one from c to d."""
    return min(a * c, a * d, b * c, b * d), max(a * c, a * d, b * c, b * d)


@compiled(nogil=True)
def _ends(planes: Floats, m: int, ends: Floats) -> int:
    """Where half-spaces end a row (i, j): at k = e0 + e1 i + e2 j, e the rows of `ends`. Those that bound k from above
    come first, as many as are returned.
    """
    above, below = 0, m
    for q in range(m):
        c = planes[q, 2]
        if abs(c) < 1e-12:
            c = 1e-12  # parallel to the rows: far beyond them on one side, far below on the other
        if c > 0:
            to, above = above, above + 1
        else:
            below -= 1
            to = below
        c = 1 / c
        ends[to, 0], ends[to, 1], ends[to, 2] = planes[q, 3] * c, -planes[q, 0] * c, -planes[q, 1] * c
    return above


@compiled(nogil=True)
def _cut(corners: Floats, count: int, x0: float, x1: float) -> tuple[float, float]:
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
def collect(store: Any, resolution: int, band: float) -> Any:
    """What lies within the band, sorted: linear index, distance and face, (B,) each. One walk counts, one copies."""
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
