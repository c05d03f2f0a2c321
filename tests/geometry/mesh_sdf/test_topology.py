"""What a mesh's faces say before any distance."""

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh_sdf.topology import is_closed_and_consistent, weld


@pytest.mark.parametrize(
    "mesh", [trimesh.creation.box(), trimesh.creation.icosphere(2), trimesh.creation.torus(1, 0.3)]
)
def test_closed_meshes_that_are_damaged(mesh):
    vertices, faces = weld(mesh)
    assert is_closed_and_consistent(faces, len(vertices))
    assert not is_closed_and_consistent(faces[1:], len(vertices))
    assert not is_closed_and_consistent(np.concatenate((faces[:1, ::-1], faces[1:])), len(vertices))


def test_a_surface_twice_has_every_edge_twice():
    vertices, faces = weld(trimesh.creation.box())
    assert not is_closed_and_consistent(np.concatenate((faces, faces)), len(vertices))


def test_two_boxes_that_share_an_edge_have_it_twice_in_each_direction():
    boxes = [trimesh.creation.box(bounds=((x, x, 0), (x + 1, x + 1, 1))) for x in (0, 1)]
    vertices, faces = weld(trimesh.util.concatenate(boxes))
    assert len(vertices) == 14
    assert not is_closed_and_consistent(faces, len(vertices))


def test_weld_joins_what_is_in_one_place():
    mesh = trimesh.creation.icosphere(3)
    apart = trimesh.Trimesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    vertices, faces = weld(trimesh.Trimesh(apart.vertices, apart.faces, process=False))
    assert len(vertices) == len(mesh.vertices)
    np.testing.assert_array_equal(vertices[faces], mesh.vertices[mesh.faces])


def test_minus_zero_is_zero():
    vertices = np.array([[0.0, 0, 0], [-0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    welded, _ = weld(trimesh.Trimesh(vertices, [[0, 2, 3], [1, 3, 4]], process=False))
    assert len(welded) == 4


def test_single_precision_coordinates_do_not_collide(monkeypatch):
    """Welding sorts rows only where keys agree, and keys of midpoints in single precision must not."""
    mesh = trimesh.creation.icosphere(6)
    rounded = trimesh.Trimesh(np.asarray(mesh.vertices, np.float32), mesh.faces, process=False)
    monkeypatch.setattr(np, "unique", pytest.fail)
    assert len(weld(rounded)[0]) == len(mesh.vertices)
