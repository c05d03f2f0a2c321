"""Adjacency of a mesh against dictionaries."""

from collections import defaultdict

import numpy as np
import pytest

from latentsdf.geometry.mesh_sdf.adjacency import build_adjacency


def fan(size):
    """Triangles around one vertex, which all edges from the center start at."""
    ring = np.arange(1, size + 1)
    return np.stack([np.zeros(size, np.int64), ring, np.roll(ring, -1)], axis=1)


@pytest.mark.parametrize(
    ("faces", "vertex_count"),
    [
        (np.random.default_rng(0).integers(0, 12, (40, 3)), 14),
        (fan(10), 11),
        (fan(100), 101),
        (np.insert(np.random.default_rng(1).integers(1, 80, (300, 2)), 0, 0, axis=1), 80),
        (np.zeros((0, 3), np.int64), 3),
    ],
    ids=[
        "random with repeated vertices",
        "small fan",
        "fan above the insertion sort limit",
        "unsorted star with repeated edges",
        "no faces",
    ],
)
def test_adjacency_matches_dictionaries(faces, vertex_count):
    """Edges, incident faces and neighbors equal those collected in dictionaries."""
    incident, neighbors = defaultdict(list), defaultdict(list)
    for f, face in enumerate(faces):
        for s in range(3):
            incident[tuple(sorted((int(face[s]), int(face[(s + 1) % 3]))))].append(f)
    for a, b in sorted(incident):
        neighbors[a].append(b)
        neighbors[b].append(a)
    edges, edge_start, edge_faces, vertex_start, vertex_next = build_adjacency(faces, vertex_count)
    assert [tuple(edge) for edge in edges.tolist()] == sorted(incident)
    for e, edge in enumerate(edges.tolist()):
        assert edge_faces[edge_start[e] : edge_start[e + 1]].tolist() == incident[tuple(edge)]
    assert len(vertex_start) == vertex_count + 1
    for v in range(vertex_count):
        assert sorted(vertex_next[vertex_start[v] : vertex_start[v + 1]].tolist()) == sorted(neighbors[v])
