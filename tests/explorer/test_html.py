"""HTML of the parts of a page."""

import pytest

from latentsdf.explorer import html

_HOSTILE = '<script>alert("x")</script>'


def test_names_are_escaped() -> None:
    """Names of shapes and files cannot add elements to the page."""
    tile = html.Tile(_HOSTILE, b"png", "id", note=_HOSTILE)
    parts = [
        html.tiles([tile], 3),
        html.pad("control", 4, 0.5, 0.5, [tile] * 4),
        html.title(_HOSTILE, _HOSTILE),
        html.message(_HOSTILE),
    ]
    assert all("<script" not in part and "&lt;script" in part for part in parts)


def test_tiles_press_their_buttons() -> None:
    """A tile is the label of its button, and the selected one is marked."""
    found = html.tiles([html.Tile("a", None, "one"), html.Tile("b", None, "two", selected=True)], 2)
    assert found.count("<label") == 2
    assert '<label for="one"' in found
    assert '<label for="two"' in found
    assert found.count("#2b6cb0") == 1
    assert "No shape matches" in html.tiles([], 2)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, (0, 0)), (250, (0.25, 0)), (10_000_000 + 1000, (1, 1)), (-5, (0, 0))]
)
def test_position_on_the_pad(value: int, expected: tuple[float, float]) -> None:
    """The number of the pad has steps to the right, and steps down times 10,000."""
    assert html.pad_position(value) == expected


def test_pad_writes_to_its_number() -> None:
    """The script of the pad names the control that receives the position; a line has no second direction."""
    square, line = (html.pad("control", count, 0.2, 0.7, []) for count in (4, 2))
    assert "getElementById(&#x27;control&#x27;)" in square
    assert "clientY" in square
    assert "clientY" not in line
    assert "left:20.0%;top:70.0%" in square
    assert "left:20.0%;top:50.0%" in line


def test_drop_zone_names_the_upload() -> None:
    """Dropped files go to the file input of the upload button."""
    assert html.drop_zone("id").startswith('<label for="file_upload_id"')
