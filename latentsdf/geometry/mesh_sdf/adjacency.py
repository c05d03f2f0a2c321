"""Which faces meet at an edge, and which vertices are neighbours: counted and laid out without a global sort."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

_FEW = 32  # edges at a vertex; more are sorted by halves

Ints = NDArray[np.int64]


@compiled(nogil=True)
def adjacency(faces: Ints, vertex_count: int) -> Any:
    """Edges (E, 2) of faces (F, 3), smaller end first; the faces around each edge and the neighbours of each vertex.

    Returns edges, edge_start (E + 1,), edge_faces (3 F,), vertex_start (V + 1,), vertex_next (2 E,): those of edge
    e are edge_faces[edge_start[e] : edge_start[e + 1]], likewise for vertices. A face that names a vertex twice has an
    edge from it to itself.
    """
    start = np.zeros(vertex_count + 1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            start[min(faces[f, s], faces[f, (s + 1) % 3]) + 1] += 1
    start = np.cumsum(start)
    far, owner, fill = np.empty(3 * len(faces), np.int64), np.empty(3 * len(faces), np.int64), start.copy()
    for f in range(len(faces)):
        for s in range(3):
            a, b = faces[f, s], faces[f, (s + 1) % 3]
            at = fill[min(a, b)]
            far[at], owner[at] = max(a, b), f
            fill[min(a, b)] += 1
    edges, edge_start = np.empty((len(far), 2), np.int64), np.empty(len(far) + 1, np.int64)
    count = 0
    for v in range(vertex_count):
        begin, end = start[v], start[v + 1]
        if end - begin > _FEW:
            order = np.argsort(far[begin:end], kind="mergesort")
            far[begin:end], owner[begin:end] = far[begin:end][order], owner[begin:end][order]
        else:
            _insertion_sort(far, owner, begin, end)
        for at in range(begin, end):
            if at == begin or far[at] != far[at - 1]:
                edges[count, 0], edges[count, 1], edge_start[count] = v, far[at], at
                count += 1
    edge_start[count] = len(far)
    edges, edge_start = edges[:count].copy(), edge_start[: count + 1].copy()
    vertex_start = np.zeros(vertex_count + 1, np.int64)
    for e in range(count):
        for end in edges[e]:
            vertex_start[end + 1] += 1
    vertex_start = np.cumsum(vertex_start)
    following, fill = np.empty(2 * count, np.int64), vertex_start.copy()
    for e in range(count):
        for side in range(2):
            end = edges[e, side]
            following[fill[end]] = edges[e, 1 - side]
            fill[end] += 1
    return edges, edge_start, owner, vertex_start, following


@compiled(nogil=True)
def _insertion_sort(key: Ints, value: Ints, begin: int, end: int) -> None:
    for at in range(begin + 1, end):
        k, v, to = key[at], value[at], at
        while to > begin and key[to - 1] > k:
            key[to], value[to] = key[to - 1], value[to - 1]
            to -= 1
        key[to], value[to] = k, v
