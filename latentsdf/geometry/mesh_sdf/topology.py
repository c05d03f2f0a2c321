"""Welding of coincident vertices, and the test for a closed, consistently oriented mesh."""

from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def weld(mesh: trimesh.Trimesh) -> tuple[Floats, Ints]:
    """Merge vertices with equal coordinates.

    Returns:
        Distinct vertices (V, 3) and the faces (F, 3) that index them.
    """
    vertices = (
        np.ascontiguousarray(mesh.vertices, dtype=np.float64) + 0.0
    )  # turns -0.0 into 0.0, so that equal coordinates have equal hashes
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    hashes = np.sort(_hash_rows(vertices.view(np.uint64)))
    if (hashes[1:] != hashes[:-1]).all():  # distinct hashes imply distinct vertices, without sorting rows
        return vertices, faces
    unique, inverse = np.unique(vertices, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)[faces]


def is_closed_and_consistent(faces: Ints, vertex_count: int) -> bool:
    """Whether each directed edge occurs exactly once and its reverse occurs too.

    This is the condition of a closed 2-manifold edge structure in which all faces have the same orientation.
    """
    return bool(_reverse_edges_match(faces, vertex_count) and _directed_edges_are_unique(faces, vertex_count))


@compiled(nogil=True)
def _hash64(key: Any) -> Any:
    """Bijective 64-bit hash (the finalizer of splitmix64; Steele, Lea and Flood 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled(nogil=True)
def _hash_rows(bits: Any) -> Any:
    """64-bit hash (V,) of each row (V, 3)."""
    hashes = np.empty(len(bits), np.uint64)
    for v in range(len(bits)):
        hashes[v] = _hash64(bits[v, 0] + _hash64(bits[v, 1] + _hash64(bits[v, 2])))
    return hashes


@compiled(nogil=True)
def _reverse_edges_match(faces: Ints, vertex_count: int) -> bool:
    """Whether the multiset of directed edges equals the multiset of their reverses.

    Compares sums of 64-bit hashes, so a false positive has probability 2^-64.
    """
    total = np.uint64(0)
    count = np.uint64(vertex_count)
    for f in range(len(faces)):
        for s in range(3):
            a, b = np.uint64(faces[f, s]), np.uint64(faces[f, (s + 1) % 3])
            total += _hash64(a * count + b) - _hash64(b * count + a)
    return total == 0


@compiled(nogil=True)
def _directed_edges_are_unique(faces: Ints, vertex_count: int) -> bool:
    """Whether no directed edge occurs twice."""
    first = np.zeros(vertex_count + 1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            first[faces[f, s] + 1] += 1
    first = np.cumsum(first)
    slot, end = first.copy(), np.empty(3 * len(faces), np.int64)
    for f in range(len(faces)):
        for s in range(3):
            start = faces[f, s]
            end[slot[start]] = faces[f, (s + 1) % 3]
            slot[start] += 1
    last_start = np.full(vertex_count, -1, np.int64)
    for start in range(vertex_count):
        for q in range(first[start], first[start + 1]):
            if last_start[end[q]] == start:
                return False
            last_start[end[q]] = start
    return True
