"""Welding of vertices, and the test for closed, consistently oriented meshes."""

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh_sdf.topology import is_closed_and_consistent, weld


@pytest.mark.parametrize(
    "mesh", [trimesh.creation.box(), trimesh.creation.icosphere(2), trimesh.creation.torus(1, 0.3)]
)
def test_closed_mesh_with_missing_or_reversed_face(mesh):
    """A closed mesh passes; without one face, or with one face reversed, it does not."""
    vertices, faces = weld(mesh)
    assert is_closed_and_consistent(faces, len(vertices))
    assert not is_closed_and_consistent(faces[1:], len(vertices))
    assert not is_closed_and_consistent(np.concatenate((faces[:1, ::-1], faces[1:])), len(vertices))


def test_duplicated_surface():
    """Two copies of a closed surface use every directed edge twice."""
    vertices, faces = weld(trimesh.creation.box())
    assert not is_closed_and_consistent(np.concatenate((faces, faces)), len(vertices))


def test_boxes_with_shared_edge():
    """Two boxes that touch along an edge use it twice in each direction."""
    boxes = [trimesh.creation.box(bounds=((x, x, 0), (x + 1, x + 1, 1))) for x in (0, 1)]
    vertices, faces = weld(trimesh.util.concatenate(boxes))
    assert len(vertices) == 14
    assert not is_closed_and_consistent(faces, len(vertices))


def test_weld_of_separated_faces():
    """Faces with separate vertices share vertices after welding, in the same positions."""
    mesh = trimesh.creation.icosphere(3)
    separated = trimesh.Trimesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    vertices, faces = weld(trimesh.Trimesh(separated.vertices, separated.faces, process=False))
    assert len(vertices) == len(mesh.vertices)
    np.testing.assert_array_equal(vertices[faces], mesh.vertices[mesh.faces])


def test_weld_of_negative_zero():
    """Vertices that differ in the sign of a zero coordinate are merged."""
    vertices = np.array([[0.0, 0, 0], [-0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    welded, _ = weld(trimesh.Trimesh(vertices, [[0, 2, 3], [1, 3, 4]], process=False))
    assert len(welded) == 4


def test_hashes_of_single_precision_coordinates(monkeypatch):
    """Rows are sorted only if hashes agree, and hashes of distinct float32 midpoints differ."""
    mesh = trimesh.creation.icosphere(6)
    rounded = trimesh.Trimesh(np.asarray(mesh.vertices, np.float32), mesh.faces, process=False)
    monkeypatch.setattr(np, "unique", pytest.fail)
    assert len(weld(rounded)[0]) == len(mesh.vertices)
