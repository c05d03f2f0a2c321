"""A field on a slice as a picture: its level sets, blue inside and orange outside, or its phase."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentsdf.errors import ConfigError
from latentsdf.reconstruction.result import Reconstruction

_INSIDE, _OUTSIDE = np.array([70, 130, 190.0]), np.array([235, 165, 90.0])
_BETWEEN = 0.1  # of model space, from line to line
_REACH = 1.1


def level_sets(reconstruction: Reconstruction, *, size: int = 512, axis: int = 2, offset: float = 0.0) -> Image.Image:
    """The field on [-1.1, 1.1]^2 of model space; a 3D one where coordinate `axis` is `offset`.

    The first remaining coordinate runs to the right, the second upward. White lines are 0.1 apart in model space, the
    black one is the surface; where gradients are not of length 1 the lines bunch or part.
    """
    values = _values(reconstruction, size, axis, offset)
    step = 2 * _REACH / size
    slope = np.hypot(*np.gradient(values, step)).clip(1e-6)
    to_line = np.abs((values / _BETWEEN + 0.5) % 1 - 0.5) * _BETWEEN
    line = np.clip(1.5 - to_line / (slope * step), 0, 1)[..., None]
    surface = np.clip(2.5 - np.abs(values) / (slope * step), 0, 1)[..., None]
    depth = (0.55 + 0.45 * np.exp(-2 * np.abs(values)))[..., None]
    colour = np.where((values < 0)[..., None], _INSIDE, _OUTSIDE) * depth
    colour = colour * (1 - 0.6 * line) + 255 * 0.6 * line
    return Image.fromarray((colour * (1 - surface)).round().astype(np.uint8))


def phase(reconstruction: Reconstruction, *, size: int = 512, axis: int = 2, offset: float = 0.0) -> Image.Image:
    """The phase field on the same slice, black on the medial axis; ConfigError for a method that learns none."""
    values = reconstruction.phase(_slice(reconstruction, size, axis, offset)).reshape(size, size)
    return Image.fromarray((255 * values).round().astype(np.uint8))


def _values(reconstruction: Reconstruction, size: int, axis: int, offset: float) -> NDArray[np.float64]:
    """Distances in model space, top row first."""
    distance = reconstruction.distance(_slice(reconstruction, size, axis, offset))
    return (distance * reconstruction.similarity.scale).astype(np.float64).reshape(size, size)


def _slice(reconstruction: Reconstruction, size: int, axis: int, offset: float) -> NDArray[np.float64]:
    """Points of the picture (size^2, d) in the user's frame, top row first."""
    if axis not in (0, 1, 2):
        raise ConfigError(f"axis must be 0, 1 or 2, got {axis}")
    along = (np.arange(size) + 0.5) * (2 * _REACH / size) - _REACH
    right, up = np.meshgrid(along, along[::-1])
    parts = [right.ravel(), up.ravel()]
    if reconstruction.dim == 3:
        parts.insert(axis, np.full(size * size, offset))
    return np.asarray(reconstruction.similarity.to_user(np.stack(parts, axis=1)))
