"""Beds: mattress, pillows, boards and canopy."""

from dataclasses import replace

import pytest
from helpers.solids import horizontal_section, pieces, rounded_area

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.bed import Bed
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def bed() -> Bed:
    """A mattress on a frame with square legs, and nothing else."""
    drawn = parameters("bed", 0, wide=True)
    assert isinstance(drawn, Bed)
    bare = {"headboard": "none", "footboard": "none", "base": "square", "pillows": 0, "blanket": False}
    return replace(drawn, **bare, canopy=False)


def test_mattress_and_legs(bed: Bed) -> None:
    """The mattress leaves the margin free on each side, the frame has the stated size, and four legs carry it."""
    solid = bed.solid()
    low, high = solid.bounding_box()[:3], solid.bounding_box()[3:]
    half = bed.width / 2, bed.length / 2
    assert low == pytest.approx((-half[0], 0.0, -half[1]), abs=1e-6)
    assert high == pytest.approx((half[0], bed.frame_height + bed.mattress, half[1]), abs=1e-6)
    area = horizontal_section(solid, bed.frame_height + 0.5 * bed.mattress).area()
    size = bed.width - 2 * bed.margin, bed.length - 2 * bed.margin
    assert area == pytest.approx(rounded_area(*size, 0.045), rel=1e-6)
    below = bed.frame_height - bed.frame_thickness
    assert pieces(horizontal_section(solid, 0.5 * below)) == 4
    assert solid.genus() == 0 and len(solid.decompose()) == 1


@pytest.mark.parametrize(("width", "count"), [(1.0, 1), (1.6, 2)])
def test_pillows(width: float, count: int, bed: Bed) -> None:
    """Two pillows rise from a wide mattress, and one from a narrow one."""
    solid = replace(bed, width=width, pillows=2).solid()
    assert pieces(horizontal_section(solid, bed.frame_height + bed.mattress + 0.05)) == count


@pytest.mark.parametrize("headboard", ["panel", "slats", "arch", "padded"])
def test_headboard(headboard: str, bed: Bed) -> None:
    """A headboard stands at -z and rises by its height above the mattress, an arch beyond it."""
    solid = replace(bed, headboard=headboard).solid()  # type: ignore[arg-type]
    top = bed.frame_height + bed.mattress + bed.head_height
    rise = 0.125 * bed.width - 0.02 if headboard == "arch" else 0.0
    assert solid.bounding_box()[4] == pytest.approx(top + rise, abs=1e-3)
    board = horizontal_section(solid, bed.frame_height + bed.mattress + 0.5 * bed.head_height)
    assert board.bounds()[3] < -bed.length / 2 + bed.head_thickness
    assert len(solid.decompose()) == 1


def test_canopy(bed: Bed) -> None:
    """A canopy is four posts that are joined at their tops."""
    solid = replace(bed, canopy=True).solid()
    assert solid.bounding_box()[4] == pytest.approx(bed.canopy_height, abs=1e-6)
    assert pieces(horizontal_section(solid, 1.4)) == 4
    top = horizontal_section(solid, bed.canopy_height - 0.02)
    assert pieces(top) == 1 and top.num_contour() == 2  # a ring


def test_width_out_of_range(bed: Bed) -> None:
    """A bed wider than a double bed is refused."""
    with pytest.raises(ConfigError, match=r"Bed.width must lie in \[0.85, 1.95\], got 2.5"):
        replace(bed, width=2.5)
