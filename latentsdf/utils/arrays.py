"""Conversion of the arrays that a user passes, of whatever library, to NumPy; errors name what came.

This module does not import torch: tensors are recognized by their methods, so that Open3D's are, too.
"""

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsdf.utils.errors import ConfigError, LatentSDFError


def describe(value: object) -> str:
    """Describe a value for an error message: its type, and its shape, length or beginning.

    Args:
        value: Any object.

    Returns:
        Such as `None`, `Tensor of shape (3, 2)`, `list of length 4` or `str 'chair'`.
    """
    name = type(value).__name__
    try:
        shape = getattr(value, "shape", None)
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return "None" if value is None else f"{name} {value!r:.60}"
        if shape is not None:
            dtype = f"{value.dtype} " if isinstance(value, np.ndarray) else ""
            return f"{dtype}{'array' if dtype else name} of shape {tuple(shape)}"
        return f"{name} of length {len(value)}" if isinstance(value, Sized) else name
    except Exception:  # an object whose attributes cannot be read
        return name


def as_array(
    values: Any,
    name: str = "",
    *,
    expected: str = "an array of real numbers",
    error: type[LatentSDFError] = ConfigError,
) -> NDArray[Any]:
    """Convert an array-like or a tensor, of any device and with or without gradients, to an array of real numbers.

    Args:
        values: Nested sequences, an array, or a tensor of torch or Open3D. Masked values become NaN.
        name: Name of the argument, with which the error message starts; may be empty.
        expected: What the argument should be, for the error message.
        error: Exception to raise.

    Returns:
        Array of integers or floating-point numbers of any shape; it may share memory with `values`.

    Raises:
        LatentSDFError: `error`, if the values are not real numbers, or if rows differ in length.
    """
    prefix = f"{name}: " if name else ""
    try:
        array = _to_numpy(values)
    except Exception as reason:  # arrays of other libraries raise exceptions of many types
        ragged = isinstance(values, list | tuple) and isinstance(reason, ValueError)
        why = "rows that differ in length" if ragged else f"it cannot be converted to numpy ({reason!s:.120})"
        raise error(f"{prefix}expected {expected}, got {describe(values)}: {why}") from reason
    if array.dtype.kind not in "fiu":
        of = f" with values of type {array.dtype}" if array.ndim and not isinstance(values, np.ndarray) else ""
        raise error(f"{prefix}expected {expected}, got {describe(values)}{of}")
    return array


def as_points(points: ArrayLike, dim: int = 3) -> NDArray[np.floating[Any]]:
    """Convert the points at which a field is evaluated to an array.

    Args:
        points: Points (N, dim), as for `as_array`.
        dim: Dimension of the points.

    Returns:
        Points (N, dim), float64.

    Raises:
        ConfigError: The points are not real numbers or have another shape.
    """
    array = as_array(points, expected=f"points (N, {dim})")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ConfigError(f"points must have shape (N, {dim}), got {describe(points)}")
    return array.astype(np.float64)


def _to_numpy(values: Any) -> NDArray[Any]:
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        values = [_to_numpy(value) for value in values]
    for method in ("detach", "cpu"):
        if callable(getattr(values, method, None)):
            values = getattr(values, method)()
    if callable(getattr(values, "is_floating_point", None)) and values.is_floating_point():
        values = values.double()  # numpy has no bfloat16
    if callable(getattr(values, "numpy", None)):
        values = values.numpy()
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values)
