"""Edges of a triangle mesh, the faces incident to each edge and the neighbors of each vertex.

The directed edges are bucketed by their smaller vertex (counting sort) and each bucket is sorted separately, which is
faster than one global sort.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

_INSERTION_SORT_LIMIT = 32  # edges in a bucket; larger buckets use merge sort

Ints = NDArray[np.int64]


@compiled(nogil=True)
def build_adjacency(faces: Ints, vertex_count: int) -> Any:
    """Build edge-face and vertex-vertex adjacency in compressed sparse row layout.

    The faces around edge e are `edge_faces[edge_start[e] : edge_start[e + 1]]`, the neighbors of vertex v are
    `vertex_next[vertex_start[v] : vertex_start[v + 1]]`. A face that repeats a vertex has an edge from the vertex to
    itself.

    Args:
        faces: Vertex indices (F, 3).
        vertex_count: Number of vertices V.

    Returns:
        edges: (E, 2), smaller vertex first, in lexicographic order.
        edge_start: (E + 1,).
        edge_faces: (3 F,).
        vertex_start: (V + 1,).
        vertex_next: (2 E,).
    """
    start = np.zeros(vertex_count + 1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            start[min(faces[f, s], faces[f, (s + 1) % 3]) + 1] += 1
    _accumulate(start)
    larger, owner, fill = np.empty(3 * len(faces), np.int64), np.empty(3 * len(faces), np.int64), start.copy()
    for f in range(len(faces)):
        for s in range(3):
            a, b = faces[f, s], faces[f, (s + 1) % 3]
            slot = fill[min(a, b)]
            larger[slot], owner[slot] = max(a, b), f
            fill[min(a, b)] += 1
    edges, edge_start = np.empty((len(larger), 2), np.int64), np.empty(len(larger) + 1, np.int64)
    count = 0
    for v in range(vertex_count):
        begin, end = start[v], start[v + 1]
        if end - begin > _INSERTION_SORT_LIMIT:
            _merge_sort(larger, owner, begin, end)
        else:
            _insertion_sort(larger, owner, begin, end)
        for slot in range(begin, end):
            if slot == begin or larger[slot] != larger[slot - 1]:
                edges[count, 0], edges[count, 1], edge_start[count] = v, larger[slot], slot
                count += 1
    edge_start[count] = len(larger)
    vertex_start = np.zeros(vertex_count + 1, np.int64)
    for e in range(count):
        for side in range(2):
            vertex_start[edges[e, side] + 1] += 1
    _accumulate(vertex_start)
    vertex_next, fill = np.empty(2 * count, np.int64), vertex_start.copy()
    for e in range(count):
        for side in range(2):
            end = edges[e, side]
            vertex_next[fill[end]] = edges[e, 1 - side]
            fill[end] += 1
    return edges[:count], edge_start[: count + 1], owner, vertex_start, vertex_next


@compiled(nogil=True)
def _accumulate(counts: Ints) -> None:
    """Replace counts by their cumulative sums."""
    for i in range(1, len(counts)):
        counts[i] += counts[i - 1]


@compiled(nogil=True)
def _merge_sort(keys: Ints, values: Ints, begin: int, end: int) -> None:
    """Sort keys[begin:end] in place, stably, and permute the values alike; for many keys."""
    for low in range(begin, end, _INSERTION_SORT_LIMIT):
        _insertion_sort(keys, values, low, min(low + _INSERTION_SORT_LIMIT, end))
    sorted_keys, sorted_values = np.empty(end - begin, np.int64), np.empty(end - begin, np.int64)
    width = _INSERTION_SORT_LIMIT
    while width < end - begin:
        for low in range(begin, end, 2 * width):
            middle, high = min(low + width, end), min(low + 2 * width, end)
            i, j = low, middle
            for slot in range(low - begin, high - begin):
                if j >= high or (i < middle and keys[i] <= keys[j]):
                    sorted_keys[slot], sorted_values[slot] = keys[i], values[i]
                    i += 1
                else:
                    sorted_keys[slot], sorted_values[slot] = keys[j], values[j]
                    j += 1
        for slot in range(end - begin):
            keys[begin + slot], values[begin + slot] = sorted_keys[slot], sorted_values[slot]
        width *= 2


@compiled(nogil=True)
def _insertion_sort(keys: Ints, values: Ints, begin: int, end: int) -> None:
    """Sort keys[begin:end] in place, stably, and permute the values alike."""
    for i in range(begin + 1, end):
        key, value, slot = keys[i], values[i], i
        while slot > begin and keys[slot - 1] > key:
            keys[slot], values[slot] = keys[slot - 1], values[slot - 1]
            slot -= 1
        keys[slot], values[slot] = key, value
