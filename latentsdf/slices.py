"""Pictures of a signed distance on a plane: inside and outside, level sets, and the band.

The plane is perpendicular to one axis of model space at `offset`; the picture shows [-1, 1] of the other two, for x
(z, y), for y (x, z) and for z (x, y), the second one upward (for y: toward the viewer at the bottom).
"""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from latentsdf.band import Band
from latentsdf.errors import ConfigError
from latentsdf.extract import SignedDistance

Axis = Literal["x", "y", "z"]

_INSIDE, _OUTSIDE, _LEVEL, _SURFACE, _BAND = (
    np.array(c)
    for c in ((0.36, 0.53, 0.77), (0.98, 0.86, 0.68), (0.55, 0.55, 0.55), (0.0, 0.0, 0.0), (0.80, 0.25, 0.25))
)
_SPANS = {"x": (2, 1), "y": (0, 2), "z": (0, 1)}
_FADE = 0.4  # distance at which colours are halfway to white


def render_slice(
    field: SignedDistance,
    *,
    axis: Axis = "z",
    offset: float = 0.0,
    size: int = 512,
    spacing: float = 0.05,
    band: Band | None = None,
    device: torch.device | str = "cpu",
) -> Image.Image:
    """Blue inside, orange outside, grey level sets every `spacing`, black surface, red band where one is given."""
    if axis not in get_args(Axis) or not -1 <= offset <= 1:
        raise ConfigError(f"a slice is at an offset of -1 to 1 on axis x, y or z, got {offset} on '{axis}'")
    if size < 2 or spacing <= 0:
        raise ConfigError(f"a slice needs 2 pixels and a positive spacing of level sets, got {size} and {spacing}")
    points = _plane(axis, offset, size).to(device)
    with torch.no_grad():
        distance = field(points).cpu().numpy().astype(np.float64).reshape(size, size)
    strength = np.exp2(-np.abs(distance) / _FADE)[..., None]
    pixels = 1 - strength + strength * np.where(distance[..., None] < 0, _INSIDE, _OUTSIDE)
    if band is not None:
        held = band.holds(points).cpu().numpy().reshape(size, size)
        pixels[held] = 0.65 * pixels[held] + 0.35 * _BAND
    pixels[_steps(np.floor(distance / spacing))] = _LEVEL
    pixels[_steps(distance < 0)] = _SURFACE
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def _plane(axis: Axis, offset: float, size: int) -> torch.Tensor:
    along = (np.arange(size) + 0.5) / size * 2 - 1
    right, down = np.meshgrid(along, along)
    points = np.full((size * size, 3), offset)
    across, up = _SPANS[axis]
    points[:, across] = right.ravel()
    points[:, up] = down.ravel() if axis == "y" else -down.ravel()
    return torch.from_numpy(points.astype(np.float32))


def _steps(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another value."""
    found = np.zeros(values.shape, dtype=bool)
    found[:, :-1] |= values[:, :-1] != values[:, 1:]
    found[:-1] |= values[:-1] != values[1:]
    return found
