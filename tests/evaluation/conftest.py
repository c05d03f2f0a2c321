"""Fixtures of the tests of evaluation."""

import pytest
import trimesh

from latentsdf.data.furniture import furniture


@pytest.fixture(scope="session")
def unseen() -> trimesh.Trimesh:
    """Table that is not a training shape."""
    return furniture("table", 50)
