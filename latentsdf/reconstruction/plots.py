"""A field on a slice as a picture: its level sets, evenly spaced where gradients are of length 1, or its phase."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.level_sets import Axis, draw_level_sets, slice_points

_BETWEEN = 0.1  # of model space, from line to line
_REACH = 1.1


def level_sets(
    reconstruction: Reconstruction, *, size: int = 512, axis: Axis = "z", offset: float = 0.0
) -> Image.Image:
    """The field on [-1.1, 1.1]^2 of model space as `levels` draws it, every 0.1; a 3D one at `offset` on `axis`."""
    distance = reconstruction.distance(_slice(reconstruction, size, axis, offset)).astype(np.float64)
    return draw_level_sets(distance.reshape(size, size) * reconstruction.similarity.scale, _BETWEEN)


def phase(reconstruction: Reconstruction, *, size: int = 512, axis: Axis = "z", offset: float = 0.0) -> Image.Image:
    """The phase field on the same slice, black on the medial axis; ConfigError for a method that learns none."""
    values = reconstruction.phase(_slice(reconstruction, size, axis, offset)).reshape(size, size)
    return Image.fromarray((255 * values).round().astype(np.uint8))


def _slice(reconstruction: Reconstruction, size: int, axis: Axis, offset: float) -> NDArray[np.float64]:
    """Points of the picture (size^2, d) in the user's frame, top row first."""
    points = slice_points(axis, offset, size, _REACH)[:, : reconstruction.dim]
    return np.asarray(reconstruction.similarity.to_user(points))
