"""Chunked evaluation of functions of tensors and arrays."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from latentsdf.utils.chunks import map_chunks, split_chunks


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16])
def test_map_chunks_matches_single_call(count: int) -> None:
    """Results equal those of one call over all rows, for tensors and for arrays."""
    array = np.arange(3.0 * count).reshape(count, 3)
    tensor = torch.from_numpy(array)
    sizes: list[int] = []

    def squared_norm(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        return (rows**2).sum(1)

    found = map_chunks(squared_norm, tensor, 8)
    assert torch.equal(found, squared_norm(tensor)) and found.dtype == tensor.dtype
    assert sizes[:-1] == ([8] * (count // 8) + ([count % 8] if count % 8 else []) or [0])
    as_array = map_chunks(lambda rows: (rows**2).sum(1), array, 8)
    assert isinstance(as_array, np.ndarray) and np.array_equal(as_array, found.numpy())


def test_map_chunks_tuple_results() -> None:
    """Each member of a tuple is concatenated separately."""
    points = torch.arange(10.0).reshape(5, 2)
    total, doubled = map_chunks(lambda rows: (rows.sum(1), 2 * rows), points, 2)
    assert torch.equal(total, points.sum(1)) and torch.equal(doubled, 2 * points)


def test_map_chunks_array_to_tensor() -> None:
    """The type of the result follows the function, not the input."""
    found = map_chunks(lambda rows: torch.from_numpy(rows).float(), np.arange(5), 2)
    assert torch.equal(found, torch.arange(5.0))


def test_map_chunks_gradient() -> None:
    """Gradients flow back to all rows of the input."""
    points = torch.arange(5.0, requires_grad=True)
    map_chunks(lambda rows: rows**2, points, 2).sum().backward()
    assert points.grad is not None and torch.equal(points.grad, 2 * points.detach())


def test_split_chunks_views() -> None:
    """Chunks share the memory of the input."""
    points = np.zeros((5, 3))
    for chunk in split_chunks(points, 2):
        chunk += 1
    assert (points == 1).all()


@pytest.mark.parametrize("size", [0, -1])
def test_invalid_chunk_size(size: int) -> None:
    """Sizes below one are rejected before the function is called."""
    with pytest.raises(ValueError, match="chunk size must be at least 1"):
        map_chunks(lambda rows: rows, np.zeros(3), size)


def test_import_without_torch() -> None:
    """Neither importing the module nor mapping over arrays imports torch."""
    code = (
        "import sys, numpy; from latentsdf.utils.chunks import map_chunks;"
        "map_chunks(abs, numpy.ones(3), 2); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
