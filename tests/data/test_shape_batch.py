"""Tests of the batch base class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentsdf.data.shape_batch import ShapeBatch


@dataclass(frozen=True)
class _Batch(ShapeBatch):
    points: Tensor


def test_concatenation_of_single_shape_batches() -> None:
    """`one` selects a shape in every tensor and keeps the axis."""
    batch = _Batch(torch.tensor([4, 2, 7]), torch.arange(18.0).reshape(3, 2, 3))
    parts = [batch.single(position) for position in range(3)]
    assert all(part.points.shape == (1, 2, 3) for part in parts)
    for name in ("shape_index", "points"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))


def test_parts_of_a_batch() -> None:
    """`split` gives parts of nearly equal size that contain every shape once, at most as many as shapes."""
    batch = _Batch(torch.arange(7), torch.arange(42.0).reshape(7, 2, 3))
    for parts, sizes in ((1, [7]), (3, [2, 2, 3]), (9, [1] * 7)):
        split = batch.split(parts)
        assert [len(part.points) for part in split] == sizes
        assert torch.equal(torch.cat([part.points for part in split]), batch.points)


def test_device_transfer_of_every_tensor() -> None:
    """`to` moves all tensors and keeps the type of the batch."""
    moved = _Batch(torch.tensor([1]), torch.zeros(1, 2, 3)).to(torch.device("meta"))
    assert isinstance(moved, _Batch) and moved.points.is_meta and moved.shape_index.is_meta
