"""Planar slices through the signed distance field of one shape, with its fusion band."""

import numpy as np
import torch
from PIL import Image

from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.rendering.level_sets import Axis, draw_level_sets, slice_points


def render_slice(
    field: SignedDistance,
    *,
    axis: Axis = "z",
    offset: float = 0.0,
    size: int = 512,
    spacing: float = 0.05,
    band: FusionBand | None = None,
    device: torch.device | str = "cpu",
) -> Image.Image:
    """Draw the level sets of a field on a plane perpendicular to an axis.

    Args:
        field: Signed distance, (N, 3) to (N,).
        axis: Axis of model space perpendicular to the plane.
        offset: Position of the plane on that axis, -1 to 1.
        size: Pixels per side; the image shows [-1, 1]^2.
        spacing: Distance between level sets, in model space.
        band: Fusion band to tint red, or None.
        device: Device on which the field is evaluated.

    Returns:
        The image; see `rendering.level_sets` for its colors and orientation.

    Raises:
        ConfigError: `axis`, `offset`, `size` or `spacing` is invalid.
    """
    points = torch.from_numpy(slice_points(axis, offset, size).astype(np.float32)).to(device)
    with torch.no_grad():
        distance = field(points).cpu().numpy().astype(np.float64)
    in_band = None if band is None else band.contains(points).cpu().numpy().reshape(size, size)
    return draw_level_sets(distance.reshape(size, size), spacing, in_band)
