"""Cached bands of decoded shapes."""


def test_band_of_a_changed_code(space: ShapeSpace) -> None:
    """A code that is changed in place gets a new band."""
    code = space.code("table_0000").numpy().copy()
    first, again = space.band(code), space.band(code)
    code[:] = space.code("table_0001")
    assert again is first and space.band(code).cells.shape != first.cells.shape
