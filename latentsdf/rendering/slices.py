"""A slice through one shape's field, with the band in which both branches are fused."""

import numpy as np
import torch
from PIL import Image

from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.fusion_band import FusionBand
from latentsdf.rendering.level_sets import Axis, paint, plane


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
    """[-1, 1]^2 of model space as `levels` draws it, level sets every `spacing`, red band where one is given."""
    points = torch.from_numpy(plane(axis, offset, size).astype(np.float32)).to(device)
    with torch.no_grad():
        distance = field(points).cpu().numpy().astype(np.float64)
    held = None if band is None else band.contains(points).cpu().numpy().reshape(size, size)
    return paint(distance.reshape(size, size), spacing, held)
