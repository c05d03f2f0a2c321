"""Level sets of a reconstruction: evenly spaced where gradients are of length 1."""

import numpy as np
from PIL import Image

from latentsdf.levels import Axis, paint, plane
from latentsdf.reconstruction.result import Reconstruction

_BETWEEN = 0.1  # of model space, from line to line
_REACH = 1.1


def level_sets(
    reconstruction: Reconstruction, *, size: int = 512, axis: Axis = "z", offset: float = 0.0
) -> Image.Image:
    """The field on [-1.1, 1.1]^2 of model space as `levels` draws it, every 0.1; a 3D one at `offset` on `axis`."""
    similarity = reconstruction.similarity
    points = plane(axis, offset, size, _REACH)[:, : reconstruction.dim]
    distance = reconstruction.distance(similarity.to_user(points)).astype(np.float64) * similarity.scale
    return paint(distance.reshape(size, size), _BETWEEN)
