"""Fixtures of the tests of evaluation."""

from pathlib import Path

import pytest
import trimesh

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="session")
def space(space_path: Path) -> ShapeSpace:
    """The space of the four tables."""
    return ls.load(space_path, device="cpu")


@pytest.fixture(scope="session")
def unseen() -> trimesh.Trimesh:
    """A table that the space was not trained on."""
    return furniture("table", 50)
