"""Fixtures of the tests of preprocessing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trimesh
from helpers.preprocessing import tasks_in_this_process

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


@pytest.fixture(scope="module")
def in_process_module() -> Iterator[None]:
    """Preprocess in this process, in all tests of a module."""
    with tasks_in_this_process():
        yield
