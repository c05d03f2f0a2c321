"""Cross-sections: the signed distance on a plane as an image in the scene, and meshes cut open at the plane."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.rendering.level_sets import Axis, draw_level_sets, slice_points

COARSE_PIXELS, FINE_PIXELS = 96, 320
"""Width and height of the image while dragging and at rest."""
_SPACING = 0.05  # between level sets, in model space
_HALF_OPACITY = 0.12  # distance outside at which the image is half transparent
_HALF = math.sqrt(0.5)
# Columns of an image in the scene go along x and rows along y. These quaternions turn it as `level_sets` orients it.
_ROTATIONS: dict[Axis, tuple[float, float, float, float]] = {
    "z": (0.0, 1.0, 0.0, 0.0),
    "x": (0.0, _HALF, 0.0, _HALF),
    "y": (_HALF, _HALF, 0.0, 0.0),
}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """A plane perpendicular to an axis of model space."""

    axis: Axis = "z"
    offset: float = 0.0
    """Position on the axis, -1 to 1."""
    cuts: bool = False
    """Whether the part of the mesh above the plane is removed."""
    shows_band: bool = False
    """Whether the fusion band is tinted red."""

    @property
    def position(self) -> tuple[float, float, float]:
        """Center of the image of the plane."""
        x, y, z = (self.offset if name == self.axis else 0.0 for name in "xyz")
        return x, y, z

    @property
    def wxyz(self) -> tuple[float, float, float, float]:
        """Rotation of the image of the plane, as a quaternion."""
        return _ROTATIONS[self.axis]


def draw_plane(
    plane: Plane,
    distance: Callable[[torch.Tensor], torch.Tensor],
    pixels: int,
    band: FusionBand | None = None,
    device: torch.device | str = "cpu",
    draw: Callable[[NDArray[np.float64]], Pixels] | None = None,
) -> Pixels:
    """Draw the level sets of a signed distance on a plane; outside of the shape they fade, so that it stays in view.

    Args:
        plane: The plane.
        distance: Points (N, 3) in model space to signed distances (N,).
        pixels: Width and height.
        band: Fusion band to tint, or None.
        device: Device of the points.
        draw: Draws the values (H, W) instead, such as those of another quantity.

    Returns:
        Image (pixels, pixels, 4), in RGBA.
    """
    points = torch.from_numpy(slice_points(plane.axis, plane.offset, pixels).astype(np.float32)).to(device)
    with torch.no_grad():
        values = distance(points).double().numpy(force=True).reshape(pixels, pixels)
    if draw is not None:
        return np.insert(draw(values), 3, 255, axis=2)
    in_band = None if band is None else band.contains(points).numpy(force=True).reshape(pixels, pixels)
    opacity = np.exp2(-np.maximum(values, 0) / _HALF_OPACITY)
    drawn = np.asarray(draw_level_sets(values, _SPACING, in_band))
    return np.dstack((drawn, (255 * opacity).round().astype(np.uint8)))
