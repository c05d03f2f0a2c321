"""Triangles of polygons, and indices out of range."""

import numpy as np
import pytest

from latentsdf.geometry.mesh_files.raw_mesh import mesh_of_polygons, require_indices
from latentsdf.utils.errors import MeshError

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


def test_square_and_triangle() -> None:
    """A square becomes two triangles of its area and orientation; a triangle is kept, and notes are handed on."""
    mesh = mesh_of_polygons(SQUARE, np.array([0, 1, 2, 3, 2, 1, 0]), np.array([4, 3]), ("a remark",))
    edges = SQUARE[mesh.faces[:2, 1:]] - SQUARE[mesh.faces[:2, :1]]
    np.testing.assert_allclose(0.5 * np.cross(edges[:, 0], edges[:, 1]), [[0, 0, 0.5], [0, 0, 0.5]])
    assert np.roll(mesh.faces[2], -np.argmin(mesh.faces[2])).tolist() == [0, 2, 1]
    assert len(mesh.faces) == 3 and mesh.notes == ("a remark",)


def test_small_polygons() -> None:
    """Points and lines among the polygons are left out and counted; empty polygons are not mentioned."""
    mesh = mesh_of_polygons(SQUARE, np.array([0, 1, 2, 3, 0, 1]), np.array([1, 2, 0, 3]))
    assert len(mesh.faces) == 1 and set(mesh.faces[0].tolist()) == {0, 1, 3}
    assert mesh.notes == ("2 faces with fewer than 3 corners are left out",)


@pytest.mark.parametrize("wrong", [4, -1])
def test_indices_out_of_range(wrong: int) -> None:
    """The message names the index and the number of vertices."""
    with pytest.raises(MeshError, match=f"refer to vertex {wrong}, counted from 0, but there are 4 vertices"):
        mesh_of_polygons(SQUARE, np.array([0, 1, wrong]), np.array([3]))
    require_indices(np.array([0, 3]), 4)
    require_indices(np.array([], dtype=np.int64), 0)
