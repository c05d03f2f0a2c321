"""Moves through a space: along principal directions from any shape, and between the corners of a square."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.latent.code import Code
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import CodeLike, ShapeSpace
from latentsdf.utils.errors import ConfigError


def as_code(space: ShapeSpace, shape: str | Inversion | Code) -> Code:
    """Return the code of a shape, with everything that decoding it needs."""
    return space.combine((1.0, shape))


def coordinates(space: ShapeSpace, code: Code) -> Float[NDArray[np.float32], " L"]:
    """Return the coordinates u of a code along all principal directions, in standard deviations from the mean."""
    dim = space.config.model.code_dim
    return space.prior.encode(torch.as_tensor(code.code[None]).to(space.prior.mean))[0, :dim].numpy(force=True)


def moved(space: ShapeSpace, code: Code, shift: Float[NDArray[np.float32], " L"]) -> Code:
    """Move a code along principal directions.

    Args:
        space: The space.
        code: The code z; its codes by layer move with it.
        shift: Change of the coordinates u of the global part, in standard deviations.

    Returns:
        The code z + B shift, with the expected change of its local part. Refined detail, which belongs to one code
        only, is left out.
    """
    if not np.any(shift):
        return code
    prior = space.prior
    amounts = torch.as_tensor(shift).to(prior.mean)
    count = len(prior.mean) - len(amounts)
    step = prior.decode(torch.cat((amounts, amounts.new_zeros(count)))) - prior.mean
    offset = step.float().numpy(force=True)
    layers = None if code.layers is None else code.layers + offset
    return replace(code, code=code.code + offset, layers=layers, delta=None)


def corner_weights(count: int, x: float, y: float) -> tuple[float, ...]:
    """Return the weights of the corners of a square at a point, or of the ends of a line.

    Args:
        count: 2 for a line, whose ends are left and right, or 4 for a square, whose corners are top left, top right,
            bottom left and bottom right.
        x: Position from left (0) to right (1).
        y: Position from top (0) to bottom (1); without effect on a line.

    Returns:
        Weights, which sum to 1; bilinear on the square.
    """
    x, y = (min(max(value, 0.0), 1.0) for value in (x, y))
    if count == 2:
        return 1 - x, x
    if count != 4:
        raise ConfigError(f"a blend has 2 or 4 shapes, got {count}")
    return (1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y


def blended(space: ShapeSpace, shapes: Sequence[CodeLike], x: float, y: float) -> Code:
    """Return the shape at a point between two or four shapes (`corner_weights`)."""
    weights = corner_weights(len(shapes), x, y)
    return space.combine(*((weight, shape) for weight, shape in zip(weights, shapes, strict=True) if weight > 0))
