"""Benches: seat, back and arms."""

from dataclasses import replace

import pytest
from helpers.solids import horizontal_section, pieces, rounded_area

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.bench import Bench
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def bench() -> Bench:
    """A board on four straight legs."""
    drawn = parameters("bench", 0, wide=True)
    assert isinstance(drawn, Bench)
    return replace(drawn, seat="board", base="square", back="none", arms=False, shelf=False, leg_splay=0.0)


def test_board_and_legs(bench: Bench) -> None:
    """The seat is a board of the stated size at the stated height, on four legs."""
    solid = bench.solid()
    middle = horizontal_section(solid, bench.height - 0.5 * bench.thickness)
    assert middle.area() == pytest.approx(rounded_area(bench.length, bench.depth, 0.2 * bench.thickness), rel=1e-6)
    assert solid.bounding_box()[4] == pytest.approx(bench.height, abs=1e-6)
    assert pieces(horizontal_section(solid, 0.5 * bench.height)) == 4
    assert solid.genus() == 0 and len(solid.decompose()) == 1


def test_slats_of_seat(bench: Bench) -> None:
    """A seat of slats has one about every 0.095 m of its depth, joined below by cross bars."""
    solid = replace(bench, seat="slats", depth=0.475).solid()
    assert pieces(horizontal_section(solid, bench.height - 0.1 * bench.thickness)) == 5
    assert pieces(horizontal_section(solid, bench.height - 0.6 * bench.thickness)) == 1


def test_low_shelf(bench: Bench) -> None:
    """A low board joins the legs at its height; a plinth has none."""
    low = bench.shelf_height * (bench.height - bench.thickness)
    assert pieces(horizontal_section(replace(bench, shelf=True).solid(), low)) == 1
    solids = [replace(bench, base="plinth", shelf=shelf).solid() for shelf in (True, False)]
    assert solids[0].volume() == solids[1].volume()


@pytest.mark.parametrize("back", ["rails", "slats", "panel"])
def test_back_and_arms(back: str, bench: Bench) -> None:
    """The back rises behind the seat and leans toward -z; arms need one."""
    solid = replace(bench, back=back, arms=True).solid()  # type: ignore[arg-type]
    lower = horizontal_section(solid, bench.height + 0.05).bounds()
    higher = horizontal_section(solid, bench.height + 0.9 * bench.back_height).bounds()
    assert higher[1] < lower[1] < -0.4 * bench.depth
    arm = horizontal_section(solid, bench.height + bench.arm_height)
    back_alone = horizontal_section(replace(bench, back=back).solid(), bench.height + bench.arm_height)  # type: ignore[arg-type]
    assert arm.area() > back_alone.area() + 0.065 * bench.depth
    assert len(solid.decompose()) == 1
    assert replace(bench, arms=True).solid().volume() == bench.solid().volume()


def test_splay_out_of_range(bench: Bench) -> None:
    """Legs that lean inward are refused."""
    with pytest.raises(ConfigError, match=r"Bench.leg_splay must lie in \[0.0, 8.0\], got -1"):
        replace(bench, leg_splay=-1.0)
