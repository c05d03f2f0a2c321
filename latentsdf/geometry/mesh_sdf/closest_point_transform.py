"""Closest point transform of a mesh to a lattice (Mauch 2000), in lattice units.

The closest point of the mesh to x lies in the interior of a face, in the interior of an edge or at a vertex, and x lies
in a convex region that belongs to this face, edge or vertex:

    face f with corners v_0, v_1, v_2   prism   o_s . (x - v_s) <= 0 for s = 0, 1, 2
    edge from a to b                    wedge   t . (x - a) >= 0, t . (x - b) <= 0, o_f . (x - a) >= 0 for incident f
    vertex v                            cone    t_u . (x - v) <= 0 for each neighbor u

    n     unit normal of a face
    o_s   unit vector in the plane of a face, orthogonal to its edge s and pointing outward (o_f: of face f at the edge)
    t     unit direction of an edge (t_u: from v to u)

Each region is limited to distances of at most the band width w from its feature, and scan converted row by row
(`scan_conversion`). Every lattice vertex keeps the smallest of

    |n . (x - v_0)|  (prism),   distance to the line through a and b  (wedge),   |x - v|  (cone).

The regions overlap little, so the cost is proportional to the number of lattice vertices in the band.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.scan_conversion import (
    SLACK,
    Region,
    Slab,
    collect_band,
    empty_block_store,
    scan_convert_region,
)
from latentsdf.geometry.mesh_sdf.vector3 import Vector3, cross, dot, row, scale, subtract
from latentsdf.utils.numba_cache import compiled

_MIN_HEIGHT = 1e-5  # cells; the normal of a flatter face is unreliable, so only its edges and vertices are scanned
# Integers that kernels pass to kernels: a literal has a type of its own, for which the callee is compiled once more.
_ZERO, _ONE, _TWO, _THREE, _FOUR, _FIVE = (np.int64(number) for number in range(6))
_PURSUIT_STEPS = 4  # each about halves the residual in the plane of a fan of neighbors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled(nogil=True)
def _face_frame(v: Floats, f: Ints, normal: Floats, outward: Floats) -> bool:
    """Write the unit normal (3,) and the outward vectors o_s (3, 3) of face f (3,); return False for a sliver."""
    a, b, c = row(v, f[0]), row(v, f[1]), row(v, f[2])
    n = cross(subtract(b, a), subtract(c, a))
    area = np.sqrt(dot(n, n))
    sides = subtract(b, a), subtract(c, b), subtract(a, c)
    longest = np.sqrt(max(dot(sides[0], sides[0]), dot(sides[1], sides[1]), dot(sides[2], sides[2])))
    if area <= _MIN_HEIGHT * longest:
        return False
    n = scale(n, 1 / area)
    normal[0], normal[1], normal[2] = n
    for s in range(3):
        out = cross(sides[s], n)
        outward[s, 0], outward[s, 1], outward[s, 2] = scale(out, 1 / np.sqrt(dot(out, out)))
    return True


@compiled(nogil=True)
def face_frames(v: Floats, faces: Ints) -> Any:
    """Compute the unit normal n and the outward vectors o_s of each face.

    Args:
        v: Vertices (V, 3) in lattice units.
        faces: Faces (F, 3).

    Returns:
        normal: (F, 3).
        outward: (F, 3, 3).
        valid: (F,) False for slivers, for which neither is defined.
    """
    normal = np.zeros((len(faces), 3))
    outward = np.zeros((len(faces), 3, 3))
    valid = np.zeros(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        valid[f] = _face_frame(v, faces[f], normal[f], outward[f])
    return normal, outward, valid


@compiled(nogil=True)
def _set_half_space(planes: Floats, m: int, direction: Vector3, point: Vector3) -> None:
    """Set half-space m to direction . (x - point) <= SLACK."""
    planes[m, 0], planes[m, 1], planes[m, 2] = direction
    planes[m, 3] = dot(direction, point) + SLACK


@compiled(nogil=True)
def scan_convert_mesh(
    v: Floats,
    faces: Ints,
    normal: Floats,
    outward: Floats,
    valid: Any,
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
    """Compute the part of the narrow band with begin <= i < end.

    Args:
        v: Vertices (V, 3) in lattice units.
        faces: Faces (F, 3).
        normal: Unit normals (F, 3) from `face_frames`.
        outward: Outward vectors (F, 3, 3) from `face_frames`.
        valid: (F,) False for slivers.
        edges: Edges (E, 2) from `build_adjacency`, as are the next four arguments.
        edge_start: (E + 1,).
        edge_faces: (3 F,).
        vertex_start: (V + 1,).
        vertex_next: (2 E,).
        resolution: Cells per axis.
        band: Band width w in cells.
        begin: First plane i.
        end: Last plane i, exclusive.

    Returns:
        Sorted linear index (B,), distance in cells (B,) and closest face (B,). For an edge or vertex the face is one of
        the incident faces.
    """
    store = empty_block_store(resolution)
    max_planes = _ZERO
    for starts in (edge_start, vertex_start):
        for q in range(len(starts) - 1):
            max_planes = max(max_planes, starts[q + 1] - starts[q])
    max_planes += 8
    region = Region(
        np.empty((3, 3)),
        np.empty(3),
        np.empty(3),
        np.empty((2, 3)),
        np.empty((max_planes, 4)),
        np.empty((max_planes, 4)),
    )
    corners, low, high, rays, planes, _ = region
    slab = Slab(resolution, band, begin, end)
    for f in range(len(faces)):
        x0, x1, x2 = v[faces[f, 0], 0], v[faces[f, 1], 0], v[faces[f, 2], 0]
        if valid[f] and min(x0, x1, x2) - band < end and max(x0, x1, x2) + band >= begin - 1:
            n = row(normal, f)
            for s in range(3):
                corners[s, 0], corners[s, 1], corners[s, 2] = row(v, faces[f, s])
                _set_half_space(planes, s, row(outward[f], s), row(corners, s))
            _set_half_space(planes, _THREE, n, row(corners, _ZERO))
            _set_half_space(planes, _FOUR, scale(n, -1.0), row(corners, _ZERO))
            planes[3, 3] += band
            planes[4, 3] += band
            for axis in range(3):
                high[axis] = band * abs(n[axis])
                low[axis] = -high[axis]
                rays[0, axis] = rays[1, axis] = n[axis]
            store = scan_convert_region(region, _THREE, _FIVE, n, f, slab, store)
    for e in range(len(edges)):
        a, b = row(v, edges[e, 0]), row(v, edges[e, 1])
        along = subtract(b, a)
        length = np.sqrt(dot(along, along))
        if length > 0 and min(a[0], b[0]) - band < end and max(a[0], b[0]) + band >= begin - 1:
            along = scale(along, 1 / length)
            _set_half_space(planes, _ZERO, along, b)
            _set_half_space(planes, _ONE, scale(along, -1.0), a)
            m = _TWO
            first = edge_faces[edge_start[e]]
            for q in range(edge_start[e], edge_start[e + 1]):
                f = edge_faces[q]
                if valid[f]:
                    _set_half_space(planes, m, scale(_outward_at_edge(outward[f], faces[f], edges[e]), -1.0), a)
                    m += 1
            for axis in range(3):
                corners[0, axis], corners[1, axis] = a[axis], b[axis]
                high[axis] = band * np.sqrt(max(0.0, 1 - along[axis] * along[axis]))
                low[axis] = -high[axis]
                rays[0, axis], rays[1, axis] = -1.0, 1.0
            if m == 4 and edge_start[e + 1] - edge_start[e] == 2:
                other = edge_faces[edge_start[e] + 1]
                outward1, outward0 = scale(row(planes, _THREE), -1.0), scale(row(planes, _TWO), -1.0)
                if not _shrink_to_wedge(
                    row(normal, first), outward1, row(normal, other), outward0, band, low, high, rays
                ):
                    continue
            store = scan_convert_region(region, _TWO, m, along, first, slab, store)
    corner_face = np.full(len(v), -1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            corner_face[faces[f, s]] = f
    for axis in range(3):
        rays[0, axis], rays[1, axis] = -1.0, 1.0
    for c in range(len(v)):
        if corner_face[c] >= 0 and v[c, 0] - band < end and v[c, 0] + band >= begin - 1:
            apex = row(v, c)
            corners[0, 0], corners[0, 1], corners[0, 2] = apex
            m = _ZERO
            for q in range(vertex_start[c], vertex_start[c + 1]):
                along = subtract(row(v, vertex_next[q]), apex)
                length = np.sqrt(dot(along, along))
                if length > 0:
                    _set_half_space(planes, m, scale(along, 1 / length), apex)
                    m += 1
            _bound_cone(planes, m, band, low, high)
            store = scan_convert_region(region, _ONE, m, apex, corner_face[c], slab, store)
    return collect_band(store, resolution, band)


@compiled(nogil=True)
def _outward_at_edge(outward: Floats, face: Ints, edge: Ints) -> Any:
    """Outward vector of a face at the edge (2,): the row of `outward` (3, 3) whose edge lacks the opposite corner."""
    for s in range(3):
        if face[s] != edge[0] and face[s] != edge[1]:
            return row(outward, (s + 1) % 3)
    return row(outward, _ZERO)


@compiled(nogil=True)
def _shrink_to_wedge(
    n0: Vector3, o1: Vector3, n1: Vector3, o0: Vector3, band: float, low: Floats, high: Floats, rays: Floats
) -> bool:
    """Shrink the bounding box of the cylinder around an edge, and of its unit rays, to those of the wedge.

    The wedge {x : o0 . x >= 0, o1 . x >= 0} between two faces with normals n0, n1 and outward vectors o0, o1 at the
    edge is spanned by the rays sign(n0 . o1) n0 and sign(n1 . o0) n1.

    Returns:
        False if the wedge is empty, as between coplanar faces on opposite sides of the edge.
    """
    d0, d1 = dot(n0, o1), dot(n1, o0)
    if min(abs(d0), abs(d1)) * band < SLACK:
        return bool(dot(o0, o1) > 0)  # coplanar: folded back, or flat and covered by the two prisms
    r0, r1 = scale(n0, np.sign(d0)), scale(n1, np.sign(d1))
    cosine = dot(r0, r1)
    if cosine > 0.2:
        for axis in range(3):
            # The arc between the rays lies in the triangle of the rays and the intersection of its end tangents.
            tangent = (r0[axis] + r1[axis]) / (1 + cosine)
            rays[0, axis], rays[1, axis] = min(r0[axis], r1[axis], tangent), max(r0[axis], r1[axis], tangent)
            low[axis], high[axis] = band * min(0.0, rays[0, axis]), band * max(0.0, rays[1, axis])
    return True


@compiled(nogil=True)
def _bound_cone(planes: Floats, m: int, band: float, low: Floats, high: Floats) -> None:
    """Write a bounding box of the part of the cone K = {x : a_q . x <= 0 for q < m} with |x| <= w, a_q = planes[q, :3].

    By Moreau's decomposition, the largest e . x in this part is w times the distance from e to the polar cone, which
    the a_q span. The residual of e after a few steps of matching pursuit along the a_q is an upper bound of that
    distance.
    """
    for axis in range(3):
        for sign in (-1.0, 1.0):
            residual = (sign * (axis == 0), sign * (axis == 1), sign * (axis == 2))
            for _ in range(_PURSUIT_STEPS):
                largest, best = 0.0, -1
                for q in range(m):
                    along = dot(row(planes, q), residual)
                    if along > largest:
                        largest, best = along, q
                if best < 0:
                    break
                residual = subtract(residual, scale(row(planes, best), largest))
            reach = band * np.sqrt(dot(residual, residual))
            if sign > 0:
                high[axis] = reach
            else:
                low[axis] = -reach
