"""Tests of cabinets."""

from dataclasses import replace

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.cabinet import Cabinet


def test_open_front_and_closed_back_of_shelves() -> None:
    """Shelves are open at the front, closed at the back, and have no handles."""
    member = replace(parameters("cabinet", 0), front="shelves")
    assert isinstance(member, Cabinet)
    solid, face = member.solid(), member.width * member.height
    assert solid.slice(0.0).area() < 0.4 * face  # Only sides, shelves and lid.
    assert solid.slice(member.depth / 2 - 0.008).area() < 0.4 * face
    assert solid.slice(-member.depth / 2 + 0.010).area() > 0.9 * face
    assert solid.slice(member.depth / 2 + 0.023).is_empty()  # No doors, no handles.


def test_doors_of_lower_part() -> None:
    """Doors cover the part below the open compartments."""
    member = replace(parameters("cabinet", 0), front="doors")
    assert isinstance(member, Cabinet)
    door = member.solid().slice(member.depth / 2 + 0.5 * member.panel_depth)
    assert door.area() > 0.8 * member.width * member.height * member.split
