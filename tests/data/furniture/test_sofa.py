"""Sofas: seats, arms, back and chaise."""

from dataclasses import replace

import pytest
from helpers.solids import pieces

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.sofa import Sofa
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def sofa() -> Sofa:
    """Three seats with a plain back and no arms."""
    drawn = parameters("sofa", 0, wide=True)
    assert isinstance(drawn, Sofa)
    return replace(drawn, seats=3, arms="none", back="block", base="square", chaise=False)


@pytest.mark.parametrize("seats", [1, 2, 3, 4])
def test_seats(seats: int, sofa: Sofa) -> None:
    """Each seat has its width and a cushion of its own, which reaches a little beyond the body."""
    solid = replace(sofa, seats=seats).solid()  # type: ignore[arg-type]
    box = solid.bounding_box()
    assert box[3] - box[0] == pytest.approx(seats * sofa.seat_width, abs=1e-6)
    front = (sofa.seat_depth + sofa.back_thickness) / 2
    assert pieces(solid.slice(front + 0.005)) == seats
    assert len(solid.decompose()) == 1


@pytest.mark.parametrize(("arms", "width"), [("block", 0.2), ("slim", 0.055)])
def test_arms(arms: str, width: float, sofa: Sofa) -> None:
    """Arms widen the sofa by their widths."""
    box = replace(sofa, arms=arms, arm_width=0.2).solid().bounding_box()  # type: ignore[arg-type]
    assert box[3] - box[0] == pytest.approx(3 * sofa.seat_width + 2 * width, abs=1e-6)


def test_chaise(sofa: Sofa) -> None:
    """A chaise extends the last seat, at +x, by its length; an armchair has none."""
    plain, chaise = sofa.solid(), replace(sofa, chaise=True).solid()
    longer = chaise.bounding_box()[5] - plain.bounding_box()[5]
    assert longer == pytest.approx(sofa.chaise_length, abs=1e-6)
    beyond = chaise.slice(plain.bounding_box()[5] + 0.1)
    assert beyond.bounds()[0] > 0.5 * sofa.seat_width
    single = [replace(sofa, seats=1, chaise=chaise).solid().volume() for chaise in (True, False)]
    assert single[0] == single[1]


def test_softness_out_of_range(sofa: Sofa) -> None:
    """Edges rounder than the cushions allow are refused."""
    with pytest.raises(ConfigError, match=r"Sofa.softness must lie in \[0.02, 0.05\], got 0.2"):
        replace(sofa, softness=0.2)
