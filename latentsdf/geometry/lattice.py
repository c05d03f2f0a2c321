"""Distances from a triangle mesh to the vertices of a regular lattice near it, without a tree query per vertex.

Unsigned; lengths come in and go out in model space [-1, 1]^3, the kernels work in cells. Vertex (i, j, k) of a lattice
with R cells per axis has linear index (i * (R + 1) + j) * (R + 1) + k and lies at -1 + 2 (i, j, k) / R.

The band is Mauch's closest point transform (2000): the closest point of a mesh lies inside a face, inside an edge or at
a vertex, and then the query lies in the prism over that face, the wedge between the prisms at that edge, or the cone
left over at that vertex. These regions are convex, so each lattice row meets them in one interval; together they cover
the band hardly more than once. Regions are widened by `_SLACK`, so rounding can only add candidates, never lose one.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numba import njit
from numpy.typing import NDArray

from latentsdf.errors import ConfigError
from latentsdf.geometry.adjacency import adjacency
from latentsdf.geometry.triangles import area_of
from latentsdf.geometry.vectors import Vector, cross, dot, minus, row, times

_SLACK = 1e-6  # cells
_SLIVER = 1e-5  # cells: a flatter face has no trustworthy normal; its edges and vertices stand for it
_STEEP = 0.1  # below it a normal stays in one plane of the lattice for most of the band
_BLOCK = 8
_LARGEST_RESOLUTION = 1624  # (R + 1)^3 must fit a uint32

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LatticeBand:
    """The lattice vertices near a surface: sorted linear index, unsigned distance, closest face; (B,) each."""

    index: NDArray[np.uint32]
    distance: NDArray[np.float32]
    face: NDArray[np.int32]


def narrow_band(mesh: trimesh.Trimesh, resolution: int, band_voxels: float, threads: int = 1) -> LatticeBand:
    """All lattice vertices within `band_voxels` cells of the mesh, with exact distances (float32 rounding).

    Time and memory follow the band, not the box; threads share it in slabs along x, with the same result. Raises
    ConfigError for a resolution outside 1..1624 or a band that is not positive.
    """
    check_resolution(resolution)
    if not band_voxels > 0:
        raise ConfigError(f"band_voxels must be positive, got {band_voxels}.")
    vertices = in_cells(mesh, resolution)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    edges_and_neighbours = adjacency(faces, len(vertices))

    def slab(begin: int, end: int) -> Any:
        found = _scan_mesh(vertices, faces, *edges_and_neighbours, resolution, band_voxels, begin, end)
        return _collect(*found, resolution, band_voxels)

    cuts = _slabs(vertices[faces], resolution, threads)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(slab, cuts[:-1], cuts[1:]))
    index, distance, face = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return LatticeBand(index, distance * np.float32(2 / resolution), face)


def check_resolution(resolution: int) -> None:
    """Raise ConfigError unless every vertex of the lattice has a uint32 index."""
    if not 1 <= resolution <= _LARGEST_RESOLUTION:
        raise ConfigError(f"resolution must be 1 to {_LARGEST_RESOLUTION} cells per axis, got {resolution}.")


def in_cells(mesh: trimesh.Trimesh, resolution: int) -> Floats:
    """The mesh's vertices (V, 3) where lattice vertices have whole numbers."""
    return (np.ascontiguousarray(mesh.vertices, dtype=np.float64) + 1) * (resolution / 2)


def _slabs(corners: Floats, resolution: int, count: int) -> Ints:
    """Ends of slabs along x that hold about the same area each; the first begins at 0, the last ends at R + 1."""
    area = area_of(corners)
    x = corners[:, :, 0].mean(1)
    order = np.argsort(x)
    share = np.cumsum(area[order]) / max(area.sum(), np.finfo(np.float64).tiny)
    inner = x[order][np.searchsorted(share, np.arange(1, count) / count).clip(max=len(x) - 1)]
    cuts = inner.astype(np.int64).clip(0, resolution + 1)
    return np.concatenate([[0], cuts, [resolution + 1]])


@njit(cache=True, nogil=True)
def _face_frame(v: Floats, f: Ints, normal: Floats, outward: Floats) -> bool:
    """Write the unit normal (3,) and each edge's in-plane outward unit vector (3, 3); False for a sliver."""
    a, b, c = row(v, f[0]), row(v, f[1]), row(v, f[2])
    n = cross(minus(b, a), minus(c, a))
    area = np.sqrt(dot(n, n))
    sides = minus(b, a), minus(c, b), minus(a, c)
    longest = np.sqrt(max(dot(sides[0], sides[0]), dot(sides[1], sides[1]), dot(sides[2], sides[2])))
    if area <= _SLIVER * longest:
        return False
    n = times(n, 1 / area)
    normal[0], normal[1], normal[2] = n
    for s in range(3):
        out = cross(sides[s], n)
        outward[s, 0], outward[s, 1], outward[s, 2] = times(out, 1 / np.sqrt(dot(out, out)))
    return True


@njit(cache=True, nogil=True)
def _frames(v: Floats, faces: Ints) -> Any:
    normal = np.zeros((len(faces), 3))
    outward = np.zeros((len(faces), 3, 3))
    good = np.zeros(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        good[f] = _face_frame(v, faces[f], normal[f], outward[f])
    return normal, outward, good


@njit(cache=True, nogil=True)
def _bound(planes: Floats, m: int, direction: Vector, point: Vector) -> None:
    """Half-space m: direction . (x - point) <= slack."""
    planes[m, 0], planes[m, 1], planes[m, 2] = direction
    planes[m, 3] = dot(direction, point) + _SLACK


@njit(cache=True, nogil=True)
def _scan_mesh(
    v: Floats,
    faces: Ints,
    edges: Ints,
    edge_start: Ints,
    edge_faces: Ints,
    vertex_start: Ints,
    vertex_next: Ints,
    resolution: int,
    band: float,
    begin: int,
    end: int,
) -> Any:
    """The part of the band with begin <= i < end, as a table of blocks, their squared distances and faces."""
    normal, outward, good = _frames(v, faces)
    side = resolution // _BLOCK + 1
    store = (
        np.full((side, side, side), -1, np.int32),
        np.full((256, _BLOCK**3), np.float32(np.inf)),
        np.full((256, _BLOCK**3), np.int32(-1)),
        0,
    )
    most = 8 + max(np.diff(edge_start).max(), np.diff(vertex_start).max())
    planes = np.empty((most, 4))
    corners = np.empty((3, 3))
    low, high = np.empty(3), np.empty(3)
    for f in range(len(faces)):
        x0, x1, x2 = v[faces[f, 0], 0], v[faces[f, 1], 0], v[faces[f, 2], 0]
        if good[f] and min(x0, x1, x2) - band < end and max(x0, x1, x2) + band >= begin - 1:
            n = row(normal, f)
            for s in range(3):
                corners[s, 0], corners[s, 1], corners[s, 2] = row(v, faces[f, s])
                _bound(planes, s, row(outward[f], s), row(corners, s))
            _bound(planes, 3, n, row(corners, 0))
            _bound(planes, 4, times(n, -1.0), row(corners, 0))
            planes[3, 3] += band
            planes[4, 3] += band
            for axis in range(3):
                high[axis] = band * abs(n[axis])
                low[axis] = -high[axis]
            store = _scan(corners, low, high, planes, 5, 0, n, f, resolution, band, begin, end, store)
    for e in range(len(edges)):
        a, b = row(v, edges[e, 0]), row(v, edges[e, 1])
        along = minus(b, a)
        length = np.sqrt(dot(along, along))
        if length > 0 and min(a[0], b[0]) - band < end and max(a[0], b[0]) + band >= begin - 1:
            along = times(along, 1 / length)
            _bound(planes, 0, along, b)
            _bound(planes, 1, times(along, -1.0), a)
            m = 2
            first = edge_faces[edge_start[e]]
            for q in range(edge_start[e], edge_start[e + 1]):
                f = edge_faces[q]
                if good[f]:
                    _bound(planes, m, times(_opposite(outward[f], faces[f], edges[e]), -1.0), a)
                    m += 1
            for axis in range(3):
                corners[0, axis], corners[1, axis] = a[axis], b[axis]
                high[axis] = band * np.sqrt(max(0.0, 1 - along[axis] * along[axis]))
                low[axis] = -high[axis]
            if m == 4 and edge_start[e + 1] - edge_start[e] == 2:
                other = edge_faces[edge_start[e] + 1]
                b1, b0 = times(row(planes, 3), -1.0), times(row(planes, 2), -1.0)
                if not _wedge(row(normal, first), b1, row(normal, other), b0, band, low, high):
                    continue
            store = _scan(corners[:2], low, high, planes, m, 1, along, first, resolution, band, begin, end, store)
    corner_face = np.full(len(v), -1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            corner_face[faces[f, s]] = f
    high[:], low[:] = band, -band
    for c in range(len(v)):
        if corner_face[c] >= 0 and v[c, 0] - band < end and v[c, 0] + band >= begin - 1:
            here = row(v, c)
            corners[0, 0], corners[0, 1], corners[0, 2] = here
            m = 0
            for q in range(vertex_start[c], vertex_start[c + 1]):
                along = minus(row(v, vertex_next[q]), here)
                length = np.sqrt(dot(along, along))
                if length > 0:
                    _bound(planes, m, times(along, 1 / length), here)
                    m += 1
            store = _scan(
                corners[:1], low, high, planes, m, 2, here, corner_face[c], resolution, band, begin, end, store
            )
    return store[0], store[1], store[2]


@njit(cache=True, nogil=True)
def _opposite(outward: Floats, face: Ints, edge: Ints) -> Any:
    """The face's outward vector at that of its edges."""
    for s in range(3):
        if face[s] != edge[0] and face[s] != edge[1]:
            return row(outward, (s + 1) % 3)
    return row(outward, 0)


@njit(cache=True, nogil=True)
def _wedge(n0: Vector, b1: Vector, n1: Vector, b0: Vector, band: float, low: Floats, high: Floats) -> bool:
    """Shrink the box of a cylinder to that of the wedge between two faces; False where the wedge vanishes.

    n: a face's normal, b: its in-plane outward vector at the edge. The wedge {b0.x >= 0, b1.x >= 0} is spanned by
    each normal on the side that the other face faces.
    """
    lean0, lean1 = dot(n0, b1), dot(n1, b0)
    if min(abs(lean0), abs(lean1)) * band < _SLACK:
        return bool(dot(b0, b1) > 0)  # coplanar: folded back, or flat and covered by the prisms
    r0, r1 = times(n0, np.sign(lean0)), times(n1, np.sign(lean1))
    cosine = dot(r0, r1)
    if cosine > 0.2:
        for axis in range(3):
            middle = (r0[axis] + r1[axis]) / (1 + cosine)  # the arc between the rays stays within its tangents
            low[axis] = band * min(0.0, r0[axis], r1[axis], middle)
            high[axis] = band * max(0.0, r0[axis], r1[axis], middle)
    return True


@njit(cache=True, nogil=True)
def _scan(
    corners: Floats,
    low: Floats,
    high: Floats,
    planes: Floats,
    m: int,
    kind: int,
    axis: Vector,
    face: int,
    resolution: int,
    band: float,
    begin: int,
    end: int,
    store: Any,
) -> Any:
    """Offer one face (kind 0), edge (1) or vertex (2) to the lattice vertices in its convex region."""
    table, squared, closest, used = store
    limit = np.float32(band * band * (1 + 1e-6))
    a = row(corners, 0)
    first_x, last_x, first_z, last_z = a[0], a[0], a[2], a[2]
    for s in range(1, len(corners)):
        first_x, last_x = min(first_x, corners[s, 0]), max(last_x, corners[s, 0])
        first_z, last_z = min(first_z, corners[s, 2]), max(last_z, corners[s, 2])
    i0 = max(begin, int(np.ceil(first_x + low[0] - _SLACK)))
    i1 = min(end - 1, int(np.floor(last_x + high[0] + _SLACK)))
    z0 = max(0.0, np.ceil(first_z + low[2] - _SLACK))
    z1 = min(float(resolution), np.floor(last_z + high[2] + _SLACK))
    for i in range(i0, i1 + 1):
        y0, y1 = _cut(corners, i - high[0] - _SLACK, i - low[0] + _SLACK)
        down, up = low[1], high[1]
        if kind == 0 and abs(axis[0]) > _STEEP:  # the part of the normal that reaches this plane of the lattice
            t0, t1 = (i - first_x) / axis[0], (i - last_x) / axis[0]
            t0, t1 = max(-band, min(t0, t1) - 0.1), min(band, max(t0, t1) + 0.1)
            down, up = min(t0 * axis[1], t1 * axis[1]), max(t0 * axis[1], t1 * axis[1])
        j0 = max(0, int(np.ceil(y0 + down - _SLACK)))
        j1 = min(resolution, int(np.floor(y1 + up + _SLACK)))
        for j in range(j0, j1 + 1):
            first, last = z0, z1
            for q in range(m):
                rest = planes[q, 3] - planes[q, 0] * i - planes[q, 1] * j
                c = planes[q, 2]
                if c > 1e-12:
                    last = min(last, rest / c)
                elif c < -1e-12:
                    first = max(first, rest / c)
                elif rest < 0:
                    last = -1.0
                if first > last:
                    break
            if first > last:
                continue
            x, y = i - a[0], j - a[1]
            for k in range(int(np.ceil(first)), int(np.floor(last)) + 1):
                z = k - a[2]
                if kind == 0:
                    d = (x * axis[0] + y * axis[1] + z * axis[2]) ** 2
                elif kind == 1:
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


@njit(cache=True, nogil=True)
def _cut(corners: Floats, x0: float, x1: float) -> tuple[float, float]:
    """Range of y over the part of a point, segment or triangle with x0 <= x <= x1."""
    y0, y1 = np.inf, -np.inf
    count = len(corners)
    for s in range(count):
        a, b = row(corners, s), row(corners, (s + 1) % count)
        if x0 <= a[0] <= x1:
            y0, y1 = min(y0, a[1]), max(y1, a[1])
        for x in (x0, x1):
            if (a[0] - x) * (b[0] - x) < 0:
                y = a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0])
                y0, y1 = min(y0, y), max(y1, y)
    return y0, y1


@njit(cache=True, nogil=True)
def _collect(table: Any, squared: Any, closest: Any, resolution: int, band: float) -> Any:
    """Blocks to sorted arrays: one walk to count, one to copy, both in index order."""
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
