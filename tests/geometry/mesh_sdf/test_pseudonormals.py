"""Angle-weighted pseudonormals of a cube, and their sign at a sharp vertex where face normals fail."""

import itertools

import numpy as np
import pytest
import trimesh
from helpers.meshes import box_distance

from latentsdf.geometry.mesh_sdf.pseudonormals import PseudonormalRule
from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleBVH
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle, triangle_normals


def unit(vectors):
    """Normalize vectors along the last axis."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_pseudonormals_of_cube():
    """Vertex pseudonormals are diagonals for any triangulation, edge pseudonormals the mean of two face normals."""
    cube = trimesh.creation.box((2.0, 2.0, 2.0))
    vertices, faces = np.array(cube.vertices), np.array(cube.faces)
    of_face, of_edge, of_vertex = PseudonormalRule(vertices, faces).normals
    np.testing.assert_allclose(of_face, cube.face_normals, atol=1e-12)
    np.testing.assert_allclose(unit(of_vertex), vertices / np.sqrt(3), atol=1e-12)
    for f, s in itertools.product(range(len(faces)), range(3)):
        middle = (vertices[faces[f, s]] + vertices[faces[f, (s + 1) % 3]]) / 2
        expected = np.where(np.abs(middle) == 1, middle, 0)  # the one or two faces of the cube that the edge lies on
        np.testing.assert_allclose(unit(of_edge[f, s]), unit(expected), atol=1e-12)


def test_inside_box_matches_closed_form():
    """Inside equals the sign of the analytic distance, also beyond edges and corners."""
    half = np.array([0.5, 0.3, 0.65])
    box = trimesh.creation.box(2 * half)
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 3))
    vertices, faces = np.array(box.vertices), np.array(box.faces)
    face = TriangleBVH(vertices[faces]).closest(points)[1]
    np.testing.assert_array_equal(PseudonormalRule(vertices, faces)(points, face), box_distance(points, half) < 0)


@pytest.mark.parametrize("face", [0, 1, 2])
def test_side_beyond_tip_of_spike(face):
    """All queries are closest to the tip and outside, also those behind the plane of the face that is passed."""
    ring = np.array([[0.3 * np.cos(a), 0.3 * np.sin(a), 0] for a in 2 * np.pi * np.arange(3) / 3])
    vertices = np.vstack([ring, [[0, 0, 2.0]]])
    faces = np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3], [0, 2, 1]])
    beyond = vertices[3] + np.array([[0.3, 0, 0.2], [-0.2, 0.2, 0.2], [0, -0.3, 0.2]])
    corners = vertices[faces]
    assert [closest_point_on_triangle(*p, corners, face)[1] for p in beyond] == [2, 2, 2]
    assert ((beyond - vertices[3]) @ triangle_normals(corners)[face] < 0).any()
    assert not PseudonormalRule(vertices, faces)(beyond, np.full(3, face)).any()
