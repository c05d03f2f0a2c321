"""Evaluation of functions of many points in chunks, which bounds the memory of intermediate results.

This module imports torch only when it has to concatenate tensors, so that processes without torch can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Rows = TypeVar("Rows", Tensor, NDArray[Any])
else:
    Rows = TypeVar("Rows")

Result = TypeVar("Result")

CHUNK_SIZE = 65_536
"""Default number of rows in a chunk."""


def split_chunks(points: Rows, size: int = CHUNK_SIZE) -> Iterator[Rows]:
    """Split the first axis into views of at most `size` consecutive rows.

    Args:
        points: Tensor or array (N, ...).
        size: Number of rows in a chunk, at least 1; the last chunk may be smaller.

    Returns:
        Iterator over views (at most size, ...) in order; one empty view for an empty input.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"the chunk size must be at least 1, not {size}")
    return (points[start : start + size] for start in range(0, max(len(points), 1), size))


def map_chunks(function: Callable[[Rows], Result], points: Rows, size: int = CHUNK_SIZE) -> Result:
    """Apply a function to chunks of rows and concatenate the results along the first axis.

    Gradients flow through the concatenation; wrap the call in `torch.no_grad()` to keep none. A function that moves
    its chunk to a GPU and its result back to the CPU holds one chunk on the GPU at a time.

    Args:
        function: Maps rows (M, ...) to a tensor or array (M, ...), or to a tuple of these. It must treat rows
            independently of each other. For an empty input it is called once, with the empty input.
        points: Tensor or array (N, ...).
        size: Largest number of rows in one call.

    Returns:
        Tensor or array (N, ...), or a tuple of these, of the same types, devices and dtypes as the results of
        `function`.

    Raises:
        ValueError: `size` is less than 1.

    Example:
        >>> map_chunks(lambda some: some**2, np.arange(5), size=2)
        array([ 0,  1,  4,  9, 16])
    """
    results: list[Any] = [function(chunk) for chunk in split_chunks(points, size)]
    if isinstance(results[0], tuple):
        columns: Any = tuple(_concatenate(list(column)) for column in zip(*results, strict=True))
        return columns
    return _concatenate(results)


def _concatenate(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import torch

    return torch.cat(parts)
