"""What a mesh's faces say before any distance: vertices in one place, and whether all edges meet head to tail."""

from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def weld(mesh: trimesh.Trimesh) -> tuple[Floats, Ints]:
    """Vertices (V, 3), each place once, and faces (F, 3)."""
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64) + 0.0  # one zero
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    mixed = np.sort(_mixed_rows(vertices.view(np.uint64)))
    if (mixed[1:] != mixed[:-1]).all():
        return vertices, faces
    unique, inverse = np.unique(vertices, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)[faces]


def closed_and_consistent(faces: Ints, vertex_count: int) -> bool:
    """Does each edge of each face have one of the opposite direction, and none of its own?"""
    return bool(_balanced(faces, vertex_count) and _single(faces, vertex_count))


@compiled(nogil=True)
def _mixed(key: Any) -> Any:
    """The 64 bits of a key, each made to depend on all of them (splitmix64; Steele, Lea & Flood 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled(nogil=True)
def _mixed_rows(bits: Any) -> Any:
    """A key (V,) of each row (V, 3); rows that differ hardly ever share one."""
    keys = np.empty(len(bits), np.uint64)
    for v in range(len(bits)):
        keys[v] = _mixed(bits[v, 0] + _mixed(bits[v, 1] + _mixed(bits[v, 2])))
    return keys


@compiled(nogil=True)
def _balanced(faces: Ints, vertex_count: int) -> bool:
    """Are the edges in one direction those in the other? Known by sums of their keys, wrong once in 2^64 times."""
    total = np.uint64(0)
    count = np.uint64(vertex_count)
    for f in range(len(faces)):
        for s in range(3):
            a, b = np.uint64(faces[f, s]), np.uint64(faces[f, (s + 1) % 3])
            total += _mixed(a * count + b) - _mixed(b * count + a)
    return total == 0


@compiled(nogil=True)
def _single(faces: Ints, vertex_count: int) -> bool:
    """Does no edge occur twice in one direction?"""
    first = np.zeros(vertex_count + 1, np.int64)
    for f in range(len(faces)):
        for s in range(3):
            first[faces[f, s] + 1] += 1
    first = np.cumsum(first)
    place, end = first.copy(), np.empty(3 * len(faces), np.int64)
    for f in range(len(faces)):
        for s in range(3):
            start = faces[f, s]
            end[place[start]] = faces[f, (s + 1) % 3]
            place[start] += 1
    last_start = np.full(vertex_count, -1, np.int64)
    for start in range(vertex_count):
        for q in range(first[start], first[start + 1]):
            if last_start[end[q]] == start:
                return False
            last_start[end[q]] = start
    return True
