"""Mesh simplification of an icosphere."""

import numpy as np
import pytest
import trimesh

from latentsdf.extraction.simplify import simplify
from latentsdf.utils.errors import ConfigError


def test_shape_and_face_count_of_simplified_sphere() -> None:
    """About the requested number of faces remains, watertight and close to the sphere."""
    mesh = simplify(trimesh.creation.icosphere(5, 0.5), 500)
    assert 450 <= len(mesh.faces) <= 500 and mesh.is_watertight
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.5).max() < 0.01


def test_mesh_within_face_budget() -> None:
    """A mesh with no more faces than requested is the same object."""
    mesh = trimesh.creation.icosphere(1)
    assert simplify(mesh, len(mesh.faces)) is mesh


def test_too_few_faces() -> None:
    """Fewer faces than a tetrahedron has are rejected."""
    with pytest.raises(ConfigError, match="a surface has at least 4 faces, got 3"):
        simplify(trimesh.creation.icosphere(1), 3)
