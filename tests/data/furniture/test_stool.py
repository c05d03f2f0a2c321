"""Stools: seat, legs, foot rest and back."""

from dataclasses import replace
from math import pi, sin

import pytest
from helpers.solids import horizontal_section, pieces

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.stool import Stool
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def stool() -> Stool:
    """A round seat on four legs without a foot rest."""
    drawn = parameters("stool", 0, wide=True)
    assert isinstance(drawn, Stool)
    return replace(drawn, seat="round", base="four", ring=False, back=False, height=0.7)


def test_round_seat(stool: Stool) -> None:
    """A round seat is a disc (of 48 sides) of the stated diameter, whatever the ratio of its depth."""
    for ratio in (0.82, 1.0):
        solid = replace(stool, depth_ratio=ratio).solid()
        area = horizontal_section(solid, stool.height - 0.4 * stool.thickness).area()
        assert area == pytest.approx(24 * sin(2 * pi / 48) * stool.width**2 / 4, rel=1e-6)
        assert solid.bounding_box()[4] == pytest.approx(stool.height, abs=1e-6)


@pytest.mark.parametrize(("base", "height", "count"), [("four", 0.2, 4), ("three", 0.2, 3), ("disc", 0.01, 1)])
def test_legs(base: str, height: float, count: int, stool: Stool) -> None:
    """A stool stands on four legs, three legs or a disc."""
    solid = replace(stool, base=base).solid()  # type: ignore[arg-type]
    assert pieces(horizontal_section(solid, height)) == count
    assert solid.bounding_box()[1] == pytest.approx(0.0, abs=1e-6) and len(solid.decompose()) == 1


def test_star(stool: Stool) -> None:
    """A star touches the floor with five glides within its diameter, and joins them at the column."""
    solid = replace(stool, base="star", foot_width=0.48).solid()
    floor = horizontal_section(solid, 0.01)
    assert pieces(floor) == 5 and max(map(abs, floor.bounds())) < 0.24 + stool.leg_width / 2
    assert pieces(horizontal_section(solid, 0.075)) == 1


@pytest.mark.parametrize("base", ["four", "three", "disc"])
def test_foot_rest(base: str, stool: Stool) -> None:
    """The foot rest at its height is a ring that joins the legs, or surrounds the column."""
    solid = replace(stool, base=base, ring=True).solid()  # type: ignore[arg-type]
    rest = horizontal_section(solid, stool.ring_height * stool.height)
    assert pieces(rest) == 1 and rest.num_contour() >= 2
    assert len(solid.decompose()) == 1


def test_back_at_the_rear(stool: Stool) -> None:
    """A back rises at -z by its height, above all kinds of seats."""
    for seat, cushion in (("round", 0.0), ("square", 0.0), ("padded", 0.05), ("saddle", 0.0)):
        solid = replace(stool, seat=seat, back=True).solid()  # type: ignore[arg-type]
        top = stool.height + stool.back_height + cushion
        assert solid.bounding_box()[4] == pytest.approx(top, abs=0.01)
        assert horizontal_section(solid, top - 0.05).bounds()[3] < 0 < len(solid.decompose()) < 2


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_seat(stool: Stool) -> None:
    """Seats that are not among the choices are refused."""
    with pytest.raises(ConfigError, match=r"Stool.seat must be one of \('round', 'square', 'padded', 'saddle'\)"):
        replace(stool, seat="oval")  # type: ignore[arg-type]
