"""Fixtures of the tests of preprocessing."""

from pathlib import Path

import pytest
import trimesh

from latentsdf.geometry.mesh import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with two boxes, a sphere and an empty file, in two categories."""
    root = tmp_path / "meshes"
    save(trimesh.creation.box((1, 2, 3)), root / "box" / "a.obj")
    save(trimesh.creation.box((3, 2, 1)), root / "box" / "b.ply")
    save(trimesh.creation.icosphere(3), root / "ball" / "c.stl")
    (root / "box" / "broken.obj").write_text("")
    return root
