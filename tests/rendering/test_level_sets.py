"""Slice geometry and level set colors against closed forms."""

import numpy as np
import pytest

from latentsdf.rendering.level_sets import BAND_COLOR, Axis, distance_colors, draw_level_sets, slice_points
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("axis", "top_left", "right"),
    [
        ("x", (0.3, 0.75, -0.75), (0, 0, 0.5)),
        ("y", (-0.75, 0.3, -0.75), (0.5, 0, 0)),
        ("z", (-0.75, 0.75, 0.3), (0.5, 0, 0)),
    ],
)
def test_order_of_slice_points(
    axis: Axis, top_left: tuple[float, float, float], right: tuple[float, float, float]
) -> None:
    """The first pixel and the step to the next one follow the documented orientation of each axis."""
    points = slice_points(axis, 0.3, 4)
    assert points.shape == (16, 3)
    np.testing.assert_allclose(points[0], top_left)
    np.testing.assert_allclose(points[1] - points[0], right)
    np.testing.assert_allclose(slice_points(axis, 0.3, 4, 2.0)[0, np.abs(right).argmax()], -1.5)


def test_colors_by_sign_and_distance() -> None:
    """Inside is blue, outside is orange, and at 0.4 the color is halfway to white."""
    inside, outside, half, far = distance_colors(np.array([-1e-9, 0.0, 0.4, 50.0]))
    assert inside[2] > inside[0] and outside[0] > outside[2]
    np.testing.assert_allclose(half, (outside + 1) / 2)
    np.testing.assert_allclose(far, 1)


def test_lines_at_multiples_of_spacing() -> None:
    """On a ramp, the zero set is black, other multiples of the spacing are gray, and other pixels have no line."""
    distance = np.tile((np.arange(40) - 20 + 0.5) / 40, (3, 1))
    image = np.asarray(draw_level_sets(distance, 0.25))
    black = (image == 0).all(-1)
    gray = (image == 140).all(-1)
    assert np.flatnonzero(black[1]).tolist() == [19]
    assert np.flatnonzero(gray[1]).tolist() == [9, 29]


def test_tint_of_band() -> None:
    """Pixels of the band mix 35 % of the band color into the fill color; others are unchanged."""
    distance = np.full((2, 2), 0.1)
    band = np.array([[True, False], [False, False]])
    image = np.asarray(draw_level_sets(distance, 1.0, band)) / 255
    fill = distance_colors(distance)[0, 0]
    np.testing.assert_allclose(image[0, 0], 0.65 * fill + 0.35 * np.array(BAND_COLOR), atol=0.003)
    np.testing.assert_allclose(image[1, 1], fill, atol=0.003)


def test_invalid_slices() -> None:
    """Errors name the accepted range and the value."""
    with pytest.raises(ConfigError, match="an offset of -1 to 1 on axis x, y or z, got 2.0 on 'z'"):
        slice_points("z", 2.0, 8)
    with pytest.raises(ConfigError, match="2 pixels or more, got 1"):
        slice_points("z", 0.0, 1)
    with pytest.raises(ConfigError, match="a positive spacing of level sets, got 0"):
        draw_level_sets(np.zeros((2, 2)), 0)
