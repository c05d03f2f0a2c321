"""Supports against analytic volumes, and their extents."""

from math import pi, radians, sin, tan
from typing import get_args

import pytest
from helpers.solids import horizontal_section, pieces, rounded_area

from latentsdf.data.furniture.supports import Support, support

SIZE = {"half_x": 0.5, "half_z": 0.3, "height": 0.4, "width": 0.06, "overlap": 0.02}


def test_volumes_of_legs() -> None:
    """Tapered legs have the volume of frustums, of square section with rounded corners or of 16 sides."""
    square, circle = rounded_area(0.06, 0.06, 0.18 * 0.06), 8 * sin(pi / 8) * 0.03**2
    for kind, area in (("square", square), ("round", circle)):
        for taper in (1.0, 0.6):
            legs = support(kind, **SIZE, taper=taper)  # type: ignore[arg-type]
            assert legs.volume() == pytest.approx(4 * 0.42 * area * (1 + taper + taper**2) / 3, rel=1e-5)


def test_volumes_of_boards() -> None:
    """Two boards and a plinth have the volumes of boxes, but for their bevels of a tenth of the thickness."""
    assert support("panel", **SIZE).volume() == pytest.approx(2 * 0.06 * 0.6 * 0.42, rel=0.02)
    assert support("plinth", **SIZE).volume() == pytest.approx((1.0 - 0.12) * (0.6 - 0.12) * 0.42, rel=0.02)


@pytest.mark.parametrize("kind", get_args(Support))
def test_extent(kind: Support) -> None:
    """Every support reaches from the floor into the body and stays within the area at its top."""
    solid = support(kind, **SIZE)
    low, high = solid.bounding_box()[:3], solid.bounding_box()[3:]
    assert (low[1], high[1]) == pytest.approx((0.0, 0.42), abs=1e-6)
    assert high[0] <= 0.5 + 1e-6 and high[2] <= 0.3 + 1e-6
    assert (low[0], low[2]) == pytest.approx((-high[0], -high[2]), abs=1e-6)
    assert len(solid.decompose()) == {"plinth": 1, "panel": 2, "sled": 2}.get(kind, 4)


def test_splayed_legs() -> None:
    """Splay moves the feet outward and leaves the top where it is."""
    straight, splayed = (support("square", **SIZE, splay=angle) for angle in (0.0, 8.0))
    moved = splayed.bounding_box()[3] - straight.bounding_box()[3]
    assert moved == pytest.approx(tan(radians(8.0)) * 0.42, rel=1e-6)
    tops = [horizontal_section(solid, 0.42 - 1e-6).bounds() for solid in (straight, splayed)]
    assert tops[1] == pytest.approx(tops[0], abs=1e-5)


def test_collar_of_turned_leg() -> None:
    """A turned leg has the full width at its collar and is thinner at the shaft and at the floor."""
    solid = support("turned", **SIZE, taper=0.8)
    collar, shaft, floor = (horizontal_section(solid, y).area() for y in (0.37, 0.3, 0.001))
    assert collar == pytest.approx(4 * 10 * sin(pi / 10) * 0.03**2, rel=1e-3)
    assert floor < shaft < collar and pieces(horizontal_section(solid, 0.3)) == 4
