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

_SLACK = 1e-6  # cells
_SLIVER = 1e-5  # cells: a flatter face has no trustworthy normal; its edges and vertices stand for it
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
    adjacency = _adjacency(faces, len(vertices))

    def slab(begin: int, end: int) -> Any:
        found = _scan_mesh(vertices, faces, *adjacency, resolution, band_voxels, begin, end)
        return _collect(*found, resolution, band_voxels)

    cuts = _slabs(mesh, resolution, threads)
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


def _slabs(mesh: trimesh.Trimesh, resolution: int, count: int) -> Ints:
    """Ends of slabs along x that hold about the same area each; the first begins at 0, the last ends at R + 1."""
    area = np.asarray(mesh.area_faces)
    x = np.asarray(mesh.triangles_center)[:, 0]
    order = np.argsort(x)
    share = np.cumsum(area[order]) / max(area.sum(), np.finfo(np.float64).tiny)
    inner = x[order][np.searchsorted(share, np.arange(1, count) / count).clip(max=len(x) - 1)]
    cuts = ((inner + 1) * (resolution / 2)).astype(np.int64).clip(0, resolution + 1)
    return np.concatenate([[0], cuts, [resolution + 1]])


def _adjacency(faces: Ints, vertex_count: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Edges (E, 2); the faces around each edge and the neighbours around each vertex, as offsets and values."""
    ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    key = ends[:, 0] * vertex_count + ends[:, 1]
    order = np.argsort(key, kind="stable")
    unique, start = np.unique(key[order], return_index=True)
    edges = np.stack([unique // vertex_count, unique % vertex_count], axis=1)
    edge_start = np.append(start, len(key))
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    vertex_start = np.searchsorted(both[:, 0], np.arange(vertex_count + 1))
    return edges, edge_start, order // 3, vertex_start, np.ascontiguousarray(both[:, 1])


@njit(cache=True, nogil=True)
def _face_frame(v: Floats, f: Ints, normal: Floats, outward: Floats) -> bool:
    """Write the unit normal (3,) and each edge's in-plane outward unit vector (3, 3); False for a sliver."""
    a, b, c = v[f[0]], v[f[1]], v[f[2]]
    n = np.cross(b - a, c - a)
    area = np.sqrt((n * n).sum())
    longest = 0.0
    for s in range(3):
        edge = v[f[(s + 1) % 3]] - v[f[s]]
        longest = max(longest, np.sqrt((edge * edge).sum()))
    if area <= _SLIVER * longest:
        return False
    normal[:] = n / area
    for s in range(3):
        edge = v[f[(s + 1) % 3]] - v[f[s]]
        out = np.cross(edge, normal)
        outward[s] = out / np.sqrt((out * out).sum())
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
def _bound(planes: Floats, m: int, direction: Floats, point: Floats) -> None:
    """Half-space m: direction . (x - point) <= slack."""
    planes[m, :3] = direction
    planes[m, 3] = direction @ point + _SLACK


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
    reach = np.empty(3)
    low, high = np.empty(3), np.empty(3)
    for f in range(len(faces)):
        first_x, last_x = v[faces[f], 0].min(), v[faces[f], 0].max()
        if good[f] and first_x - band < end and last_x + band >= begin - 1:
            n = normal[f]
            for s in range(3):
                corners[s] = v[faces[f, s]]
                _bound(planes, s, outward[f, s], corners[s])
            _bound(planes, 3, n, corners[0] + band * n)
            _bound(planes, 4, -n, corners[0] - band * n)
            low[:] = -band * np.abs(n)
            store = _scan(corners, low, -low, planes, 5, 0, n, f, resolution, band, begin, end, store)
    for e in range(len(edges)):
        a, b = v[edges[e, 0]], v[edges[e, 1]]
        corners[0], corners[1] = a, b
        along = b - a
        length = np.sqrt((along * along).sum())
        if length > 0 and min(a[0], b[0]) - band < end and max(a[0], b[0]) + band >= begin - 1:
            along /= length
            _bound(planes, 0, along, b)
            _bound(planes, 1, -along, a)
            m = 2
            first = edge_faces[edge_start[e]]
            for q in range(edge_start[e], edge_start[e + 1]):
                f = edge_faces[q]
                if good[f]:
                    _bound(planes, m, -_opposite(outward[f], faces[f], edges[e]), a)
                    m += 1
            reach[:] = band * np.sqrt(np.maximum(1 - along * along, 0.0))
            low[:], high[:] = -reach, reach
            if m == 4 and edge_start[e + 1] - edge_start[e] == 2:
                other = edge_faces[edge_start[e] + 1]
                if not _wedge(normal[first], -planes[3, :3], normal[other], -planes[2, :3], band, low, high):
                    continue
            store = _scan(corners[:2], low, high, planes, m, 1, along, first, resolution, band, begin, end, store)
    corner_face = np.full(len(v), -1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            corner_face[faces[f, s]] = f
    high[:] = band
    for c in range(len(v)):
        if corner_face[c] >= 0 and v[c, 0] - band < end and v[c, 0] + band >= begin - 1:
            corners[0] = v[c]
            m = 0
            for q in range(vertex_start[c], vertex_start[c + 1]):
                along = v[vertex_next[q]] - v[c]
                length = np.sqrt((along * along).sum())
                if length > 0:
                    _bound(planes, m, along / length, v[c])
                    m += 1
            store = _scan(
                corners[:1], -high, high, planes, m, 2, high, corner_face[c], resolution, band, begin, end, store
            )
    return store[0], store[1], store[2]


@njit(cache=True, nogil=True)
def _opposite(outward: Floats, face: Ints, edge: Ints) -> Any:
    """The face's outward vector at that of its edges."""
    for s in range(3):
        if face[s] != edge[0] and face[s] != edge[1]:
            return outward[(s + 1) % 3]
    return outward[0]


@njit(cache=True, nogil=True)
def _wedge(n0: Floats, b1: Floats, n1: Floats, b0: Floats, band: float, low: Floats, high: Floats) -> bool:
    """Shrink the box of a cylinder to that of the wedge between two faces; False where the wedge vanishes.

    n: a face's normal, b: its in-plane outward vector at the edge. The wedge {b0.x >= 0, b1.x >= 0} is spanned by
    each normal on the side that the other face faces.
    """
    r0, r1 = n0 * np.sign(n0 @ b1), n1 * np.sign(n1 @ b0)
    if min(abs(n0 @ b1), abs(n1 @ b0)) * band < _SLACK:
        return bool(b0 @ b1 > 0)  # coplanar: folded back, or flat and covered by the prisms
    cosine = r0 @ r1
    if cosine > 0.2:
        middle = (r0 + r1) / (1 + cosine)  # the arc between the rays stays within its tangents
        for axis in range(3):
            low[axis] = band * min(0.0, r0[axis], r1[axis], middle[axis])
            high[axis] = band * max(0.0, r0[axis], r1[axis], middle[axis])
    return True


@njit(cache=True, nogil=True)
def _scan(
    corners: Floats,
    low: Floats,
    high: Floats,
    planes: Floats,
    m: int,
    kind: int,
    axis: Floats,
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
    i0 = max(begin, int(np.ceil(corners[:, 0].min() + low[0] - _SLACK)))
    i1 = min(end - 1, int(np.floor(corners[:, 0].max() + high[0] + _SLACK)))
    a = corners[0]
    z0 = max(0.0, np.ceil(corners[:, 2].min() + low[2] - _SLACK))
    z1 = min(float(resolution), np.floor(corners[:, 2].max() + high[2] + _SLACK))
    for i in range(i0, i1 + 1):
        y0, y1 = _cut(corners, i - high[0] - _SLACK, i - low[0] + _SLACK)
        j0 = max(0, int(np.ceil(y0 + low[1] - _SLACK)))
        j1 = min(resolution, int(np.floor(y1 + high[1] + _SLACK)))
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
        a, b = corners[s], corners[(s + 1) % count]
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
