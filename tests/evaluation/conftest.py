"""Fixtures of the tests of evaluation."""

from pathlib import Path

import pytest
import trimesh

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="session")
def space(space_path: Path) -> ShapeSpace:
    """Space trained on the four tables."""
    return ls.load(space_path, device="cpu")


@pytest.fixture(scope="session")
def unseen() -> trimesh.Trimesh:
    """Table that is not a training shape."""
    return furniture("table", 50)
