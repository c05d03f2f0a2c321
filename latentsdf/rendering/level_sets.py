"""Signed distances on a plane as a picture: blue inside, orange outside, grey level sets, black surface.

The plane is perpendicular to one axis of model space; it shows of x (z, y), of y (x, z) and of z (x, y), the second one
upward (for y: toward the viewer at the bottom).
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image

from latentsdf.utils.errors import ConfigError

Axis = Literal["x", "y", "z"]

BAND = (0.80, 0.25, 0.25)
"""The red that a band is tinged with."""
_INSIDE, _OUTSIDE, _LEVEL, _SURFACE = (
    np.array(c) for c in ((0.36, 0.53, 0.77), (0.98, 0.86, 0.68), (0.55, 0.55, 0.55), (0.0, 0.0, 0.0))
)
_SPANS = {"x": (2, 1), "y": (0, 2), "z": (0, 1)}
_FADE = 0.4  # distance at which colours are halfway to white


def plane(axis: Axis, offset: float, size: int, reach: float = 1.0) -> Float[NDArray[np.float64], "N 3"]:
    """Centres of size x size pixels that span [-reach, reach]^2, row by row from the top left."""
    if axis not in get_args(Axis) or not -1 <= offset <= 1:
        raise ConfigError(f"a slice is at an offset of -1 to 1 on axis x, y or z, got {offset} on '{axis}'")
    if size < 2:
        raise ConfigError(f"a slice needs 2 pixels or more, got {size}")
    along = ((np.arange(size) + 0.5) / size * 2 - 1) * reach
    right, down = np.meshgrid(along, along)
    points = np.full((size * size, 3), offset)
    across, up = _SPANS[axis]
    points[:, across] = right.ravel()
    points[:, up] = down.ravel() if axis == "y" else -down.ravel()
    return points


def paint(
    distance: Float[NDArray[np.float64], "H W"], spacing: float, band: Bool[NDArray[np.bool_], "H W"] | None = None
) -> Image.Image:
    """A picture of distances with level sets every `spacing`, red where there is a band."""
    if not spacing > 0:
        raise ConfigError(f"a slice needs a positive spacing of level sets, got {spacing}")
    pixels = shades(distance)
    if band is not None:
        pixels[band] = 0.65 * pixels[band] + 0.35 * np.array(BAND)
    pixels[_steps(np.floor(distance / spacing))] = _LEVEL
    pixels[_steps(distance < 0)] = _SURFACE
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def shades(distance: Float[NDArray[np.float64], "*N"]) -> Float[NDArray[np.float64], "*N 3"]:
    """The colour of each distance without lines, in [0, 1]: strongest at the surface, white far from it."""
    strength = np.exp2(-np.abs(distance) / _FADE)[..., None]
    return np.asarray(1 - strength + strength * np.where(distance[..., None] < 0, _INSIDE, _OUTSIDE))


def _steps(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another value."""
    found = np.zeros(values.shape, dtype=bool)
    found[:, :-1] |= values[:, :-1] != values[:, 1:]
    found[:-1] |= values[:-1] != values[1:]
    return found
