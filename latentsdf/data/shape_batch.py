"""Interfaces shared by the two kinds of training samples: the batch base class and the sample source protocol.

Three objects are involved in drawing a batch. A source reads one shape of a store into a part, the samples of this
shape (or a random subset of them) in memory. `ShapeSamplePool` keeps the parts resident. From several resident parts
the same source draws a batch.

| `train.samples` | source | samples of one shape | batch |
|---|---|---|---|
| `sdf` | `sdf_batches.SdfSource` | `sdf_samples.ShapeSamples` | `sdf_batches.SdfBatch` |
| `points` | `point_batches.PointSource` | `point_batches.ShapePoints` | `point_batches.PointBatch` |
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from latentsdf.data.records import ShapeSummary

BatchT = TypeVar("BatchT", bound="ShapeBatch")


@dataclass(frozen=True)
class ShapeBatch:
    """Samples of S shapes. The first axis of every tensor is the shape."""

    shape_index: Tensor
    """(S,) rows of the shapes in the table of latent codes."""

    def to(self: BatchT, device: torch.device) -> BatchT:
        """Return the batch with all tensors on `device`."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def single(self: BatchT, position: int) -> BatchT:
        """Return the batch of only the shape at `position` of this batch."""
        return self._some(slice(position, position + 1))

    def split(self: BatchT, parts: int) -> list[BatchT]:
        """Split the shapes into this number of parts of nearly equal size, or into single shapes if there are fewer."""
        count = len(self.shape_index)
        parts = min(parts, count)
        bounds = [count * part // parts for part in range(parts + 1)]
        return [self._some(slice(*ends)) for ends in pairwise(bounds)]

    def _some(self: BatchT, shapes: slice) -> BatchT:
        return replace(self, **{field.name: getattr(self, field.name)[shapes] for field in fields(self)})


@runtime_checkable
class SampleSource(Protocol):
    """Reads training samples of one kind from a store and draws batches from them.

    The parts that `read` returns have an attribute `nbytes` and a method `to(device)`.
    """

    def nbytes(self, key: str, shape: ShapeSummary) -> int:
        """Return the memory in bytes of all samples of a shape.

        Raises:
            StoreError: The shape has no samples of this kind.
        """

    def read(self, key: str, share: float, rng: np.random.Generator) -> Any:
        """Read a random fraction `share` in (0, 1] of a shape's samples."""

    def draw(self, shapes: Sequence[Any], rows: Sequence[int], generators: Sequence[np.random.Generator]) -> Any:
        """Draw a batch from parts of distinct shapes.

        Args:
            shapes: One part per shape.
            rows: Row of each shape in the table of latent codes.
            generators: One random generator per shape.
        """
