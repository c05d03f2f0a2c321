"""Cached bands of decoded shapes."""

from pathlib import Path

import pytest

import latentsdf as ls
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    """The space trained on the four tables."""
    return ls.load(space_path, device="cpu")


def test_band_of_a_changed_code(space: ShapeSpace) -> None:
    """A code that is changed in place gets a new band."""
    code = space.code("table_0000").numpy().copy()
    first, again = space.band(code), space.band(code)
    code[:] = space.code("table_0001")
    assert again is first and space.band(code).cells.shape != first.cells.shape
