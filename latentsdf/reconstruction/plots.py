"""Images of a reconstruction on a slice: level sets of its distance, and its phase field."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.level_sets import Axis, draw_level_sets, slice_points

_LEVEL_SPACING = 0.1  # model space
_HALF_SIDE = 1.1


def draw_distance(
    reconstruction: Reconstruction, *, size: int = 512, axis: Axis = "z", offset: float = 0.0
) -> Image.Image:
    """Draw the signed distance on [-1.1, 1.1]^2 of model space with a level set every 0.1.

    Level sets are evenly spaced where the gradient has length 1.

    Args:
        reconstruction: The field.
        size: Width and height in pixels.
        axis: Axis of model space perpendicular to the slice; 3D only.
        offset: Position of the slice on this axis, in [-1, 1]; 3D only.

    Returns:
        RGB image.
    """
    distance = reconstruction.distance(_slice_points(reconstruction, size, axis, offset)).astype(np.float64)
    return draw_level_sets(distance.reshape(size, size) * reconstruction.similarity.scale, _LEVEL_SPACING)


def draw_phase(
    reconstruction: Reconstruction, *, size: int = 512, axis: Axis = "z", offset: float = 0.0
) -> Image.Image:
    """Draw the phase field on the slice of `draw_distance`, black on the medial axis.

    Args:
        reconstruction: The field; its method must be `medial_axis`.
        size: Width and height in pixels.
        axis: Axis of model space perpendicular to the slice; 3D only.
        offset: Position of the slice on this axis, in [-1, 1]; 3D only.

    Returns:
        Grayscale image.

    Raises:
        ConfigError: The reconstruction has no phase field.
    """
    values = reconstruction.phase(_slice_points(reconstruction, size, axis, offset)).reshape(size, size)
    return Image.fromarray((255 * values).round().astype(np.uint8))


def _slice_points(reconstruction: Reconstruction, size: int, axis: Axis, offset: float) -> NDArray[np.float64]:
    """Pixel centers (size^2, d) in the user's frame, row by row from the top left."""
    points = slice_points(axis, offset, size, _HALF_SIDE)[:, : reconstruction.dim]
    return np.asarray(reconstruction.similarity.to_user(points))
