"""Exact distances on a whole lattice, by halving it from the box down to blocks of a few vertices.

Each block hands its halves the tree nodes that can still hold a closest point of theirs. With b its centre, c0 the
closest point to b and c any other point, |p - c|^2 - |p - c0|^2 is linear in p, so a node is out when it stays
positive at every corner of the block for every c of the node. The triangles left for a small block are offered to all
its vertices at once, without branches, so that the processor's vector units do the work.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import trimesh
from numba import njit
from numpy.typing import NDArray

from latentsdf.geometry.lattice import check_resolution, in_cells
from latentsdf.geometry.tree import bound, build, descend, morton_order, prisms
from latentsdf.geometry.triangles import point_triangle

_SMALL = 5  # lattice vertices per axis of a block whose distances are computed
_TASKS_PER_AXIS = 4
_FAR = 1e300  # finite, as the vector kernel's arithmetic assumes
_ROUNDING = 1e-9  # relative

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def sparse_lattice(
    mesh: trimesh.Trimesh, resolution: int, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Distance to the mesh on the whole lattice, and the closest face: two (R+1, R+1, R+1) arrays.

    Exact (float32 rounding), whatever the mesh and wherever it lies; threads do not change the distances. Raises
    ConfigError for a resolution outside 1..1624.
    """
    check_resolution(resolution)
    corners = in_cells(mesh, resolution)[mesh.faces]
    order = morton_order(corners.mean(1))
    corners = np.ascontiguousarray(corners[order])
    tables = build(corners), prisms(corners), corners, _edges(corners)
    squared = np.empty((resolution + 1,) * 3)
    leaf = np.empty(squared.shape, np.int32)
    cuts = np.linspace(0, resolution + 1, (_TASKS_PER_AXIS if threads > 1 else 1) + 1).astype(np.int64)
    ranges = np.stack([cuts[:-1], cuts[1:]], axis=1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda box: _fill(np.concatenate(box), *tables, squared, leaf), product(ranges, repeat=3)))
    return (np.sqrt(squared) * (2 / resolution)).astype(np.float32), order.astype(np.int32)[leaf]


@njit(cache=True, nogil=True, error_model="numpy")
def _edges(corners: Floats) -> Floats:
    """(F, 3, 7): start, vector and 1 / squared length of each edge, or 0 for one without length."""
    edges = np.zeros((len(corners), 3, 7))
    for f in range(len(corners)):
        for s in range(3):
            edge = corners[f, (s + 1) % 3] - corners[f, s]
            edges[f, s, :3], edges[f, s, 3:6] = corners[f, s], edge
            length = (edge * edge).sum()
            if length > 0:
                edges[f, s, 6] = 1 / length
    return edges


@njit(cache=True, nogil=True, forceinline=True)
def _row4(table: Floats, f: int, s: int) -> Any:
    return table[f, s, 0], table[f, s, 1], table[f, s, 2], table[f, s, 3]


@njit(cache=True, nogil=True, forceinline=True)
def _row7(table: Floats, f: int, s: int) -> Any:
    return *_row4(table, f, s), table[f, s, 4], table[f, s, 5], table[f, s, 6]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, forceinline=True)
def _height(x: float, y: float, z: float, plane: Any) -> float:
    return float(x * plane[0] + y * plane[1] + z * plane[2] + plane[3])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True, forceinline=True)
def _to_edge(x: float, y: float, z: float, edge: Any) -> float:
    """Squared distance to an edge, a row of `_edges`."""
    x, y, z = x - edge[0], y - edge[1], z - edge[2]
    t = min(1.0, max(0.0, (x * edge[3] + y * edge[4] + z * edge[5]) * edge[6]))
    x, y, z = x - t * edge[3], y - t * edge[4], z - t * edge[5]
    return float(x * x + y * y + z * z)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _offer(f: int, points: Floats, count: int, planes: Floats, edges: Floats, squared: Floats, leaf: Ints) -> None:
    """Improve the squared distances of the first points of (3, N) by triangle f; no branches in the loop."""
    flat, side0, side1, side2 = _row4(planes, f, 0), _row4(planes, f, 1), _row4(planes, f, 2), _row4(planes, f, 3)
    edge0, edge1, edge2 = _row7(edges, f, 0), _row7(edges, f, 1), _row7(edges, f, 2)
    for q in range(count):
        x, y, z = points[0, q], points[1, q], points[2, q]
        h = _height(x, y, z, flat)
        outside = max(_height(x, y, z, side0), max(_height(x, y, z, side1), _height(x, y, z, side2)))
        d = min(_to_edge(x, y, z, edge0), min(_to_edge(x, y, z, edge1), _to_edge(x, y, z, edge2)))
        d = h * h if outside <= 0 else d
        better = d < squared[q]
        squared[q] = d if better else squared[q]
        leaf[q] = f if better else leaf[q]


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(box: Ints, nodes: Floats, planes: Floats, corners: Floats, edges: Floats, squared: Any, closest: Any) -> None:
    """Fill the box [i0, i1, j0, j1, k0, k1], ends excluded, block by block, the deepest first.

    `candidates` is a stack of lists: a block's own list begins where its parent's ends, and what lies behind belongs to
    blocks that are done.
    """
    leaves = len(nodes) // 2
    waiting, waiting_bound = np.empty(64, np.int64), np.empty(64)
    candidates, lower = np.empty(1 << 16, np.int64), np.empty(1 << 16)
    candidates[0] = 1
    blocks = np.empty((256, 9), np.int64)  # ranges of i, j, k; of the parent's candidates; a triangle not far away
    blocks[0, :6], blocks[0, 6:] = box, (0, 1, 0)
    count = 1 if box[0] < box[1] and box[2] < box[3] and box[4] < box[5] else 0
    points, d, leaf = np.empty((3, _SMALL**3)), np.empty(_SMALL**3), np.empty(_SMALL**3, np.int64)
    while count > 0:
        count -= 1
        i0, i1, j0, j1, k0, k1, first, last, near = blocks[count]
        small = max(i1 - i0, j1 - j0, k1 - k0) <= _SMALL
        x, y, z = (i0 + i1 - 1) / 2, (j0 + j1 - 1) / 2, (k0 + k1 - 1) / 2
        hx, hy, hz = (i1 - i0 - 1) / 2, (j1 - j0 - 1) / 2, (k1 - k0 - 1) / 2
        reach = np.sqrt(hx * hx + hy * hy + hz * hz)
        best = point_triangle(x, y, z, corners, near)[0]
        for q in range(first, last):
            lower[q] = bound(x, y, z, candidates[q], nodes)
            if lower[q] < best:
                best, near = descend(x, y, z, candidates[q], nodes, corners, best, near, waiting, waiting_bound)
        best, _, cx, cy, cz = point_triangle(x, y, z, corners, near)
        top = last
        for q in range(first, last):
            depth = 1
            waiting[0], waiting_bound[0] = candidates[q], lower[q]
            while depth > 0:
                depth -= 1
                node = waiting[depth]
                radius = nodes[node, 6] + nodes[node, 7]
                sway = hx * abs(cx - nodes[node, 0]) + hy * abs(cy - nodes[node, 1]) + hz * abs(cz - nodes[node, 2])
                if waiting_bound[depth] - best * (1 + _ROUNDING) > 2 * (sway + reach * radius):
                    continue
                if node < leaves and (small or radius > reach):
                    for child in (2 * node, 2 * node + 1):
                        waiting[depth], waiting_bound[depth] = child, bound(x, y, z, child, nodes)
                        depth += 1
                    continue
                if top == len(candidates):
                    candidates = np.concatenate((candidates, np.empty_like(candidates)))
                    lower = np.concatenate((lower, np.empty_like(lower)))
                candidates[top] = node
                top += 1
        if not small:
            im, jm, km = (i0 + i1 + 1) // 2, (j0 + j1 + 1) // 2, (k0 + k1 + 1) // 2
            for ia, ib in ((i0, im), (im, i1)):
                for ja, jb in ((j0, jm), (jm, j1)):
                    for ka, kb in ((k0, km), (km, k1)):
                        if ia < ib and ja < jb and ka < kb:
                            blocks[count] = ia, ib, ja, jb, ka, kb, last, top, near
                            count += 1
            continue
        here = 0
        for i in range(i0, i1):
            for j in range(j0, j1):
                for k in range(k0, k1):
                    points[0, here], points[1, here], points[2, here] = i, j, k
                    d[here], leaf[here] = _FAR, near
                    here += 1
        for q in range(last, top):
            _offer(candidates[q] - leaves, points, here, planes, edges, d, leaf)
        shape = (i1 - i0, j1 - j0, k1 - k0)
        squared[i0:i1, j0:j1, k0:k1] = d[:here].reshape(shape)
        closest[i0:i1, j0:j1, k0:k1] = leaf[:here].reshape(shape)
