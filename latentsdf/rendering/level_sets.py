"""Images of signed distances on a plane: blue inside, orange outside, gray level sets, black zero set.

NumPy and Pillow only, so that preprocessing workers can import this module. The plane is perpendicular to one axis of
model space. The image axes (right, up) are (z, y) for x, (x, -z) for y, and (x, y) for z.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image

from latentsdf.utils.errors import ConfigError

Axis = Literal["x", "y", "z"]
"""Axis perpendicular to a slice."""

BAND_COLOR = (0.80, 0.25, 0.25)
"""Red, green and blue in [0, 1] of the tint of the fusion band."""
_INSIDE, _OUTSIDE, _LEVEL, _SURFACE = (
    np.array(c) for c in ((0.36, 0.53, 0.77), (0.98, 0.86, 0.68), (0.55, 0.55, 0.55), (0.0, 0.0, 0.0))
)
_IMAGE_AXES = {"x": (2, 1), "y": (0, 2), "z": (0, 1)}
_HALF_FADE = 0.4  # distance at which colors are halfway to white


def slice_points(axis: Axis, offset: float, size: int, extent: float = 1.0) -> Float[NDArray[np.float64], "N 3"]:
    """Centers of the pixels of a slice, in scanline order.

    Args:
        axis: Axis perpendicular to the slice.
        offset: Position of the slice on that axis, -1 to 1.
        size: Pixels per side, at least 2; N = size^2.
        extent: The slice covers [-extent, extent]^2.

    Returns:
        Points (N, 3).

    Raises:
        ConfigError: An argument is out of its range.
    """
    if axis not in get_args(Axis) or not -1 <= offset <= 1:
        raise ConfigError(f"a slice is at an offset of -1 to 1 on axis x, y or z, got {offset} on '{axis}'")
    if size < 2:
        raise ConfigError(f"a slice needs 2 pixels or more, got {size}")
    centers = ((np.arange(size) + 0.5) / size * 2 - 1) * extent
    right, down = np.meshgrid(centers, centers)
    points = np.full((size * size, 3), offset)
    horizontal, vertical = _IMAGE_AXES[axis]
    points[:, horizontal] = right.ravel()
    points[:, vertical] = down.ravel() if axis == "y" else -down.ravel()
    return points


def draw_level_sets(
    distance: Float[NDArray[np.float64], "H W"], spacing: float, band: Bool[NDArray[np.bool_], "H W"] | None = None
) -> Image.Image:
    """Draw signed distances with level sets at multiples of a spacing.

    Args:
        distance: Signed distances (H, W).
        spacing: Distance between level sets, positive.
        band: Pixels (H, W) to tint red, or None.

    Returns:
        The image, in RGB.

    Raises:
        ConfigError: `spacing` is not positive.
    """
    if not spacing > 0:
        raise ConfigError(f"a slice needs a positive spacing of level sets, got {spacing}")
    pixels = distance_colors(distance)
    if band is not None:
        pixels[band] = 0.65 * pixels[band] + 0.35 * np.array(BAND_COLOR)
    pixels[_value_changes(np.floor(distance / spacing))] = _LEVEL
    pixels[_value_changes(distance < 0)] = _SURFACE
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def distance_colors(distance: Float[NDArray[np.float64], "*N"]) -> Float[NDArray[np.float64], "*N 3"]:
    """Fill colors in [0, 1] of signed distances: saturated at the surface, fading to white with 2^(-|s| / 0.4)."""
    strength = np.exp2(-np.abs(distance) / _HALF_FADE)[..., None]
    return np.asarray(1 - strength + strength * np.where(distance[..., None] < 0, _INSIDE, _OUTSIDE))


def _value_changes(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the pixels whose right or lower neighbor has another value."""
    changes = np.zeros(values.shape, dtype=bool)
    changes[:, :-1] |= values[:, :-1] != values[:, 1:]
    changes[:-1] |= values[:-1] != values[1:]
    return changes
