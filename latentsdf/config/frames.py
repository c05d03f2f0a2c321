"""The two frames of positions and distances.

| frame | positions |
|---|---|
| `shape` | the shape's own frame and unit: of the original mesh for a training shape, of the target for a fit |
| `model` | model space, the box [-1, 1]^3 in which the networks are trained |

A similarity transform (`geometry.similarity`) relates both. Methods of `ShapeSpace` and `Reconstruction` that take or
return positions have an argument `frame`, which applies to all of their positions and distances and is `shape` by
default, so that `space.distance(x, space.extract(x).vertices)` is close to zero for every shape x. A distance in the
frame of a shape is the distance in model space divided by the scale of the similarity.

A bare code, an array of L numbers, has no frame of its own: its `shape` frame is model space. A `latent.code.Code` or
an `Inversion` carries the similarity of its shape. Networks, fusion bands, signed samples and observations are in model
space.
"""

from typing import Literal, get_args

from latentsdf.utils.errors import ConfigError

Frame = Literal["shape", "model"]
"""`shape`, the shape's own frame, or `model`, model space; defined in the module docstring."""


def require_frame(frame: str) -> None:
    """Raise ConfigError for a frame that is neither `shape` nor `model`."""
    if frame not in get_args(Frame):
        raise ConfigError(
            f"frame must be 'shape' (the shape's own frame) or 'model' (the box [-1, 1]^3), got {frame!r}"
        )
