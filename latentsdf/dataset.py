"""Sample store -> batches of S shapes x P points, held in memory within a budget.

Band samples stay as they are stored, a lattice index and a quantized distance (6 bytes), and become coordinates only
when drawn. The strata of a shape are fair samples of its band, so a shape that does not fit whole keeps its first
strata and loses resolution evenly, not in one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.errors import StoreError
from latentsdf.geometry.lattice import lattice_points
from latentsdf.store import SampleStore

_BYTES_PER_BAND_SAMPLE = 4 + 4


@dataclass(frozen=True)
class Batch:
    """S shapes x P points for each branch: `shape` (S,), points (S, P, 3), signed distances (S, P)."""

    shape: Tensor
    general_points: Tensor
    general_distance: Tensor
    overfit_points: Tensor
    overfit_distance: Tensor


@dataclass(frozen=True)
class ShapeSamples:
    """One shape's samples in memory: `band_index` (B,), `band_distance` (B,), `space` (M, 4) near and far of it."""

    band_index: NDArray[np.uint32]
    band_distance: NDArray[np.float32]
    space: NDArray[np.float32]


class Samples:
    """The samples of all shapes of a run, drawn at random.

    Overfit samples come from the band. Half of the general samples come from near the surface, a quarter from the
    uniform points, a quarter from the band.
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
        return sum(s.band_index.nbytes + s.band_distance.nbytes + s.space.nbytes for s in self.shapes)

    def draw(self, rows: NDArray[np.int64], points: int, rng: np.random.Generator) -> Batch:
        """A batch of `points` samples a branch for each of the given shapes."""
        band, band_d, space, space_d = [], [], [], []
        quarter = points // 4
        for row in rows:
            shape = self.shapes[row]
            pick = rng.integers(len(shape.band_index), size=points + quarter)
            xyz = lattice_points(shape.band_index[pick], self.resolution)
            distance = shape.band_distance[pick]
            free = shape.space[rng.integers(len(shape.space), size=points - quarter)]
            band.append(xyz[:points])
            band_d.append(distance[:points])
            space.append(np.concatenate((free[:, :3], xyz[points:])))
            space_d.append(np.concatenate((free[:, 3], distance[points:])))
        return Batch(
            torch.from_numpy(rows),
            *(torch.from_numpy(np.stack(parts)) for parts in (space, space_d, band, band_d)),
        )


def _load(store: SampleStore, key: str, budget: int) -> ShapeSamples:
    strata = store.band_strata(key)
    space = np.concatenate(store.space(key))
    total = store.info(key).band_samples
    affordable = max(1, budget - space.nbytes) / (total * _BYTES_PER_BAND_SAMPLE)
    keep = max(1, min(strata, int(strata * affordable)))
    index, distance = store.band(key, range(keep))
    return ShapeSamples(index, distance, space)
