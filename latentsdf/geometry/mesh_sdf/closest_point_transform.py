"""Mauch's closest point transform (2000) of a mesh to a lattice; lengths in cells.

The closest point of a mesh lies inside a face, inside an edge or at a vertex, and then the query lies in the prism over
that face, the wedge between the prisms at that edge, or the cone left over at that vertex. These regions are convex, so
each lattice row meets them in one interval; together they cover the band hardly more than once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.scan_conversion import SLACK, Region, Slab, collect, empty_store, offer
from latentsdf.geometry.mesh_sdf.vector3 import Vector, cross, dot, minus, row, times
from latentsdf.utils.numba_cache import compiled

_SLIVER = 1e-5  # a flatter face has no trustworthy normal; its edges and vertices stand for it
_PURSUIT = 4  # steps; each halves about what a fan of neighbours leaves over in its plane

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled(nogil=True)
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


@compiled(nogil=True)
def frames(v: Floats, faces: Ints) -> Any:
    """Each face's unit normal (F, 3) and outward vectors at its edges (F, 3, 3), and False (F,) for slivers."""
    normal = np.zeros((len(faces), 3))
    outward = np.zeros((len(faces), 3, 3))
    good = np.zeros(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        good[f] = _face_frame(v, faces[f], normal[f], outward[f])
    return normal, outward, good


@compiled(nogil=True)
def _bound(planes: Floats, m: int, direction: Vector, point: Vector) -> None:
    """Half-space m: direction . (x - point) <= slack."""
    planes[m, 0], planes[m, 1], planes[m, 2] = direction
    planes[m, 3] = dot(direction, point) + SLACK


@compiled(nogil=True)
def scan_mesh(
    v: Floats,
    faces: Ints,
    normal: Floats,
    outward: Floats,
    good: Any,
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
    """The part of the band with begin <= i < end, sorted: linear index, distance in cells and face, (B,) each."""
    store = empty_store(resolution)
    most = 8 + max(np.diff(edge_start).max(), np.diff(vertex_start).max())
    region = Region(
        np.empty((3, 3)), np.empty(3), np.empty(3), np.empty((2, 3)), np.empty((most, 4)), np.empty((most, 4))
    )
    corners, low, high, rays, planes, _ = region
    slab = Slab(resolution, band, begin, end)
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
                rays[0, axis] = rays[1, axis] = n[axis]
            store = offer(region, 3, 5, n, f, slab, store)
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
                rays[0, axis], rays[1, axis] = -1.0, 1.0
            if m == 4 and edge_start[e + 1] - edge_start[e] == 2:
                other = edge_faces[edge_start[e] + 1]
                b1, b0 = times(row(planes, 3), -1.0), times(row(planes, 2), -1.0)
                if not _wedge(row(normal, first), b1, row(normal, other), b0, band, low, high, rays):
                    continue
            store = offer(region, 2, m, along, first, slab, store)
    corner_face = np.full(len(v), -1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            corner_face[faces[f, s]] = f
    rays[0], rays[1] = -1.0, 1.0
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
            _cone(planes, m, band, low, high)
            store = offer(region, 1, m, here, corner_face[c], slab, store)
    return collect(store, resolution, band)


@compiled(nogil=True)
def _opposite(outward: Floats, face: Ints, edge: Ints) -> Any:
    """The face's outward vector at that of its edges."""
    for s in range(3):
        if face[s] != edge[0] and face[s] != edge[1]:
            return row(outward, (s + 1) % 3)
    return row(outward, 0)


@compiled(nogil=True)
def _wedge(
    n0: Vector, b1: Vector, n1: Vector, b0: Vector, band: float, low: Floats, high: Floats, rays: Floats
) -> bool:
    """Shrink the box of a cylinder, and of its rays, to that of the wedge between two faces; False if that vanishes.

    n: a face's normal, b: its in-plane outward vector at the edge. The wedge {b0.x >= 0, b1.x >= 0} is spanned by
    each normal on the side that the other face faces.
    """
    lean0, lean1 = dot(n0, b1), dot(n1, b0)
    if min(abs(lean0), abs(lean1)) * band < SLACK:
        return bool(dot(b0, b1) > 0)  # coplanar: folded back, or flat and covered by the prisms
    r0, r1 = times(n0, np.sign(lean0)), times(n1, np.sign(lean1))
    cosine = dot(r0, r1)
    if cosine > 0.2:
        for axis in range(3):
            middle = (r0[axis] + r1[axis]) / (1 + cosine)  # the arc between the rays stays within its tangents
            rays[0, axis], rays[1, axis] = min(r0[axis], r1[axis], middle), max(r0[axis], r1[axis], middle)
            low[axis], high[axis] = band * min(0.0, rays[0, axis]), band * max(0.0, rays[1, axis])
    return True


@compiled(nogil=True)
def _cone(planes: Floats, m: int, band: float, low: Floats, high: Floats) -> None:
    """A box around the part of the cone {planes[q, :3] . x <= 0 for q < m} within the band.

    By Moreau, x along a direction goes no farther than that direction is from the cone the normals span; what pursuit
    along them leaves of it is no less.
    """
    for axis in range(3):
        for sign in (-1.0, 1.0):
            rest = (sign * (axis == 0), sign * (axis == 1), sign * (axis == 2))
            for _ in range(_PURSUIT):
                most, best = 0.0, -1
                for q in range(m):
                    along = dot(row(planes, q), rest)
                    if along > most:
                        most, best = along, q
                if best < 0:
                    break
                rest = minus(rest, times(row(planes, best), most))
            reach = band * np.sqrt(dot(rest, rest))
            if sign > 0:
                high[axis] = reach
            else:
                low[axis] = -reach
