"""Paths between codes."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.errors import ConfigError

Method = Literal["linear", "spherical"]


def interpolate(
    codes: Float[NDArray[np.float32], "K L"], steps: int, method: Method = "linear"
) -> Float[NDArray[np.float32], "N L"]:
    """A path of `steps` codes through the given ones, ends included.

    With more than two codes the path is piecewise and passes through each of them at (nearly) equal spacing.
    `spherical` turns the direction at constant speed and interpolates the norm, for codes near a sphere.
    """
    codes = np.asarray(codes, dtype=np.float32)
    if len(codes) < 2 or steps < 2:
        raise ConfigError(f"a path needs at least 2 codes and 2 steps, got {len(codes)} codes and {steps} steps")
    if method not in get_args(Method):
        raise ConfigError(f"method must be one of {', '.join(get_args(Method))}, got '{method}'")
    position = np.linspace(0, len(codes) - 1, steps)
    start = np.minimum(position.astype(int), len(codes) - 2)
    fraction = (position - start)[:, None].astype(np.float32)
    first, second = codes[start], codes[start + 1]
    if method == "linear":
        return first + fraction * (second - first)
    return _spherical(first, second, fraction)


def _spherical(first: NDArray[np.float32], second: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    norm_a = np.linalg.norm(first, axis=1, keepdims=True)
    norm_b = np.linalg.norm(second, axis=1, keepdims=True)
    a, b = first / norm_a.clip(1e-12), second / norm_b.clip(1e-12)
    angle = np.arccos((a * b).sum(1, keepdims=True).clip(-1, 1))
    # Parallel codes have no arc between them; the straight line is its limit.
    straight = angle < 1e-4
    sine = np.where(straight, 1, np.sin(angle))
    weight_a = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    weight_b = np.where(straight, t, np.sin(t * angle) / sine)
    return ((weight_a * a + weight_b * b) * ((1 - t) * norm_a + t * norm_b)).astype(np.float32)
