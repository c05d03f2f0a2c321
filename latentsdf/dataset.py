"""Sample store -> batches of S shapes x P points, held in memory within a budget.

Band samples stay as they are stored, a lattice index and a distance (8 bytes), and become coordinates only
when drawn. The strata of a shape are fair samples of its band, so a shape that does not fit whole keeps its first
strata and loses resolution evenly, not in one place. A shape without band, whose samples were imported, draws in its
place those of its free-space samples that are as close to the surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.errors import StoreError
from latentsdf.geometry.sampling import band_width, lattice_points
from latentsdf.store import SampleStore

_BYTES_PER_BAND_SAMPLE = 4 + 4


@dataclass(frozen=True)
class Batch:
    """S shapes: `shape` (S,), band samples (S, P, 3) with signed distance (S, P), free-space ones (S, P / 2, 3)."""

    shape: Tensor
    band_points: Tensor
    band_distance: Tensor
    free_points: Tensor
    free_distance: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class ShapeSamples:
    """One shape's samples in memory: `band_index` (B,), `band_distance` (B,), `free` (M, 4) near and far of it.

    Where there is no band, `close` (K,) are the rows of `free` that stand in for it.
    """

    band_index: NDArray[np.uint32]
    band_distance: NDArray[np.float32]
    free: NDArray[np.float32]
    close: NDArray[np.int64]

    def draw_band(
        self, points: int, resolution: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points (P, 3) near the surface and their distance (P,)."""
        if len(self.band_index):
            pick = rng.integers(len(self.band_index), size=points)
            return lattice_points(self.band_index[pick], resolution), self.band_distance[pick]
        rows = self.free[self.close[rng.integers(len(self.close), size=points)]]
        return rows[:, :3], rows[:, 3]


class Samples:
    """The samples of all shapes of a run, drawn at random.

    Band samples supervise both branches, free-space samples (near the surface and uniform in the box) the general one.
    """

    def __init__(self, store: SampleStore, keys: Sequence[str], memory_gb: float) -> None:
        if not keys:
            raise StoreError(f"{store.path}: no shapes to train on; run latentsdf-preprocess first")
        self.keys = list(keys)
        self.resolution = store.config.resolution
        budget = int(memory_gb * 1e9 / len(keys))
        self.shapes = [_load(store, key, budget) for key in keys]

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def nbytes(self) -> int:
        """Memory held by the samples."""
        return sum(getattr(s, field.name).nbytes for s in self.shapes for field in fields(s))

    def draw(self, rows: NDArray[np.int64], points: int, rng: np.random.Generator) -> Batch:
        """A batch of `points` band samples and half as many free-space samples for each of the given shapes."""
        band, band_d, free = [], [], []
        for row in rows:
            shape = self.shapes[row]
            at, distance = shape.draw_band(points, self.resolution, rng)
            band.append(at)
            band_d.append(distance)
            free.append(shape.free[rng.integers(len(shape.free), size=points // 2)])
        free_samples = torch.from_numpy(np.stack(free))
        return Batch(
            torch.from_numpy(rows),
            torch.from_numpy(np.stack(band)),
            torch.from_numpy(np.stack(band_d)),
            free_samples[..., :3],
            free_samples[..., 3],
        )


def _load(store: SampleStore, key: str, budget: int) -> ShapeSamples:
    free = np.concatenate(store.space(key))
    total = store.info(key).band_samples
    if total == 0:
        width = band_width(store.config.resolution, store.config.band_voxels)
        close = np.flatnonzero(np.abs(free[:, 3]) <= width)
        if len(close) == 0:
            raise StoreError(f"{store.path}: shape '{key}' has neither a band nor a sample within {width:.4f} of it")
        return ShapeSamples(np.empty(0, np.uint32), np.empty(0, np.float32), free, close)
    strata = store.band_strata(key)
    affordable = max(1, budget - free.nbytes) / (total * _BYTES_PER_BAND_SAMPLE)
    keep = max(1, min(strata, int(strata * affordable)))
    index, distance = store.band(key, range(keep))
    return ShapeSamples(index, distance, free, np.empty(0, np.int64))
