"""Tests of the conversion of solids to meshes: edge flips, edge collapses, orientation."""

import numpy as np
import pytest
import trimesh
from manifold3d import Manifold

from latentsdf.data.furniture.surface import (
    DETAIL,
    FLAT,
    boundary_mesh,
    collapse_short_edges,
    flip_flat_triangles,
    triangle_heights,
    without_voids,
)


def test_flip_of_flat_triangle() -> None:
    """A flat triangle of a tetrahedron with a vertex on an edge is flipped; volume and topology are kept."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0, 0]], dtype=np.float64)
    faces = np.array([[0, 4, 2], [4, 1, 2], [0, 1, 4], [0, 3, 1], [0, 2, 3], [1, 3, 2]])[:, ::-1].astype(np.int64)
    before = trimesh.Trimesh(vertices, faces, process=False)
    assert before.is_watertight
    assert (triangle_heights(vertices, faces) < FLAT).sum() == 1
    after = trimesh.Trimesh(vertices, flip_flat_triangles(vertices, faces), process=False)
    assert (triangle_heights(vertices, after.faces) > FLAT).all()
    assert after.is_watertight and after.is_winding_consistent
    assert after.volume == pytest.approx(before.volume)
    np.testing.assert_array_equal(flip_flat_triangles(vertices, np.array(after.faces)), after.faces)


def test_collapse_of_short_edge() -> None:
    """A short edge of a subdivided box is collapsed, and the mesh stays closed."""
    box = trimesh.creation.box()
    middle = trimesh.Trimesh(*trimesh.remesh.subdivide(box.vertices, box.faces))
    moved = middle.vertices.copy()
    edge = middle.edges_unique[0]
    moved[edge[1]] = moved[edge[0]] + 0.1 * DETAIL
    faces = collapse_short_edges(moved, np.array(middle.faces))
    assert len(faces) == len(middle.faces) - 2
    assert trimesh.Trimesh(moved, faces, process=False).is_watertight


def test_link_condition() -> None:
    """An edge of a double pyramid over a triangle is kept, because its ends share three neighbors."""
    vertices = np.array([[0, 0, 0], [0.1 * DETAIL, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]])
    ring = [(0, 1), (1, 2), (2, 0)]
    faces = np.array([(a, b, 3) for a, b in ring] + [(b, a, 4) for a, b in ring])
    np.testing.assert_array_equal(collapse_short_edges(vertices, faces), faces)


def test_outward_orientation() -> None:
    """The volume of a box is positive and exact."""
    assert boundary_mesh(Manifold.cube((1.0, 2.0, 3.0))).volume == pytest.approx(6.0)


def test_voids() -> None:
    """The surface of a void is removed; nested and separate solids are kept."""
    hollow = Manifold.cube((1.0, 1.0, 1.0), True) - Manifold.cube((0.5, 0.5, 0.5), True)
    inside, apart = Manifold.cube((0.1, 0.1, 0.1), True), Manifold.cube((1.0, 1.0, 1.0)).translate((2.0, 0.0, 0.0))
    data = Manifold.compose([hollow, inside, apart]).to_mesh64()
    vertices, faces = np.array(data.vert_properties[:, :3]), np.array(data.tri_verts, dtype=np.int64)
    filled = trimesh.Trimesh(vertices, without_voids(vertices, faces), process=False)
    assert filled.volume == pytest.approx(2.001)
    assert filled.is_watertight and len(filled.split()) == 3
