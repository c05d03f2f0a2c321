"""Shelves: boards, compartments, dividers and closed rows."""

from dataclasses import replace

import pytest
from helpers.solids import horizontal_section, pieces

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.shelf import Shelf
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def shelf() -> Shelf:
    """Three rows of two columns between side panels on the floor, open in front and behind."""
    drawn = parameters("shelf", 0, wide=True)
    assert isinstance(drawn, Shelf)
    plain = replace(drawn, sides="panels", base="floor", layout="aligned", rear=False, closed="none", overhang=False)
    return replace(plain, rows=3, columns=2)


def test_boards_and_panels(shelf: Shelf) -> None:
    """A section parallel to the front has the area of the boards, the side panels and the divider."""
    thick = shelf.board
    boards = 4 * thick * (shelf.width - 2 * thick)
    divider = thick * (shelf.height - 4 * thick)
    bevels = 4 * 0.5 * 0.004**2
    expected = 2 * thick * shelf.height + boards + divider - bevels
    assert shelf.solid().slice(0.0).area() == pytest.approx(expected, rel=1e-6)
    low, high = shelf.solid().bounding_box()[:3], shelf.solid().bounding_box()[3:]
    assert low == pytest.approx((-shelf.width / 2, 0.0, -shelf.depth / 2), abs=1e-6)
    assert high == pytest.approx((shelf.width / 2, shelf.height, shelf.depth / 2), abs=1e-6)


@pytest.mark.parametrize(("layout", "rows", "columns"), [("aligned", 2, 1), ("staggered", 3, 2)])
def test_open_compartments(layout: str, rows: int, columns: int, shelf: Shelf) -> None:
    """Each open compartment is a hole through the solid; a rear panel closes all of them."""
    changed = replace(shelf, layout=layout, rows=rows, columns=columns)  # type: ignore[arg-type]
    assert changed.solid().genus() == rows * columns
    assert replace(changed, rear=True).solid().genus() == 0


@pytest.mark.parametrize("closed", ["doors", "drawers"])
def test_closed_compartments(closed: str, shelf: Shelf) -> None:
    """Doors and drawers close the lowest row, which is solid, and have knobs in front."""
    solid = replace(shelf, closed=closed, rows=2).solid()  # type: ignore[arg-type]
    assert solid.genus() == 2
    assert pieces(solid.slice(shelf.depth / 2 + 0.01)) >= 2
    assert solid.bounding_box()[5] == pytest.approx(shelf.depth / 2 + 0.024, abs=1e-6)


def test_posts(shelf: Shelf) -> None:
    """A shelf on posts has four of them beside the braces, and stays in one piece."""
    solid = replace(shelf, sides="posts", columns=1).solid()
    assert solid.bounding_box()[4] == pytest.approx(shelf.height + 0.04, abs=1e-6)
    assert pieces(horizontal_section(solid, shelf.height + 0.02)) == 4
    assert len(solid.decompose()) == 1


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_number_of_rows(shelf: Shelf) -> None:
    """Numbers of rows that are not among the choices are refused."""
    with pytest.raises(ConfigError, match=r"Shelf.rows must be one of \(2, 3, 4, 5, 6\), got 7"):
        replace(shelf, rows=7)  # type: ignore[arg-type]
