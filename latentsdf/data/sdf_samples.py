"""Signed distance samples of one shape, held in memory for training.

A band sample stays as compact as in the store, a lattice index and a distance (8 bytes); `sdf_batches` converts the
index to coordinates when the sample is drawn. Random indices are generated on the CPU from a seed, and the samples are
gathered on the device that holds them, so a run draws the same samples on every device.

Chunks of a stored band are random subsets of it, and off-surface samples are stored in random order. A partially loaded
shape therefore has lower sampling density everywhere instead of missing regions. A shape without a band (imported
samples) uses the off-surface samples within the band width as its band samples.

Signed distances are negative inside; lengths are in model space, the box [-1, 1]^3.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.training import Draw
from latentsdf.data.records import ShapeSummary
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import band_width
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError, StoreError

NEAR_DISTANCE = 0.1
"""With `train.draw` 'near', half of the samples have |d| <= this distance, as in the code of Compact-SDF (Bai et al.
2026)."""

SURFACE_CELLS = 1.0
"""With `train.draw` 'surface', half of the band samples lie within this many lattice cells of the surface.

These include both ends of every lattice edge that crosses the surface.
"""

Float32 = NDArray[np.float32]

Sampler = Callable[[Tensor, int, np.random.Generator], NDArray[np.integer[Any]] | Tensor]
"""Chooses the samples of a shape in a batch, instead of `train.draw`: `sampler(distance, count, rng)`.

Maps the signed distances (N,) of the samples in memory, band samples or off-surface samples, to `count` of their
indices. If it takes all random numbers from `rng`, resumed runs equal uninterrupted ones.
"""


@dataclass(frozen=True)
class SampleStrata:
    """Boundaries of four strata in a sorted set of samples: far inside, near inside, near outside, far outside."""

    ends: tuple[int, int, int, int]
    """Index one past the last sample of each stratum; the last entry is the number of samples."""

    def draw(self, count: int, how: Draw, rng: np.random.Generator) -> Tensor:
        """Draw sample indices with replacement.

        An empty stratum is replaced by the two near strata, or by all samples if these are empty, too.

        Args:
            count: Number of indices.
            how: Allocation of the draws to the strata. `even`: uniform over all samples. `signs`: half inside, half
                outside. `near`: half near, a quarter inside, a quarter outside. `surface`: half near, half from all.
            rng: Source of random numbers.

        Returns:
            Indices (count,), int64.
        """
        total = self.ends[3]
        if how == "even":
            return torch.from_numpy(rng.integers(total, size=count))
        inside, outside, near = (0, self.ends[1]), (self.ends[1], total), (self.ends[0], self.ends[2])
        allocation: tuple[tuple[tuple[int, int], int], ...]
        if how == "signs":
            allocation = ((inside, count // 2), (outside, count - count // 2))
        elif how == "surface":  # Off-surface samples have empty near strata and are drawn uniformly.
            allocation = (((0, total), count - count // 2), (near, count // 2))
        else:
            quarter = count // 4
            allocation = ((near, count - 2 * quarter), (inside, quarter), (outside, quarter))
        fallback = near if near[0] < near[1] else (0, total)
        return torch.from_numpy(
            np.concatenate(
                [rng.integers(*(span if span[0] < span[1] else fallback), size=size) for span, size in allocation]
            )
        )


@dataclass(frozen=True)
class ShapeSamples:
    """Band samples and off-surface samples of one shape, each sorted by stratum.

    For a shape without a band, `band_index` and `band_distance` are empty and `near_rows` is used instead.
    """

    band_index: Tensor
    """(B,) int32, linear indices of vertices of the dense lattice."""
    band_distance: Tensor
    """(B,) signed distances."""
    band_strata: SampleStrata
    offsurface: Tensor
    """(M, 4) points and signed distances: the near and the uniform samples of the store."""
    offsurface_strata: SampleStrata
    near_rows: Tensor
    """(K,) int64, rows of `offsurface` within the band width; empty for a shape with a band."""

    @property
    def nbytes(self) -> int:
        """Memory of all tensors in bytes."""
        return self.band_index.nbytes + self.band_distance.nbytes + self.offsurface.nbytes + self.near_rows.nbytes

    def to(self, device: torch.device) -> "ShapeSamples":
        """Return the samples with all tensors on `device`."""
        return replace(
            self,
            band_index=self.band_index.to(device),
            band_distance=self.band_distance.to(device),
            offsurface=self.offsurface.to(device),
            near_rows=self.near_rows.to(device),
        )

    def draw_band(self, count: int, how: Draw | Sampler, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw band samples, with replacement unless a sampler draws otherwise.

        Args:
            count: Number of samples.
            how: Distribution of the samples, or a function that chooses them.
            rng: Source of the random numbers.

        Returns:
            Positions and signed distances (count,). The positions are linear lattice indices (count,), or points
            (count, 3) for a shape without a band.
        """
        device = self.offsurface.device
        if len(self.band_index):
            if callable(how):
                pick = _draw_by(how, self.band_distance, count, rng)
            else:
                pick = self.band_strata.draw(count, how, rng).to(device)
            return self.band_index[pick], self.band_distance[pick]
        if callable(how):
            pick = _draw_by(how, self.offsurface[self.near_rows, 3], count, rng)
        else:
            pick = torch.from_numpy(rng.integers(len(self.near_rows), size=count)).to(device)
        rows = self.offsurface[self.near_rows[pick]]
        return rows[:, :3], rows[:, 3]

    def draw_offsurface(self, count: int, how: Draw | Sampler, rng: np.random.Generator) -> Tensor:
        """Draw off-surface samples (count, 4), with replacement unless a sampler draws otherwise.

        Args:
            count: Number of samples.
            how: Distribution of the samples, or a function that chooses them.
            rng: Source of the random numbers.

        Returns:
            Positions and signed distances (count, 4).
        """
        if callable(how):
            return self.offsurface[_draw_by(how, self.offsurface[:, 3], count, rng)]
        return self.offsurface[self.offsurface_strata.draw(count, how, rng).to(self.offsurface.device)]


def _draw_by(sampler: Sampler, distance: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draw sample indices (count,) by a sampler.

    Raises:
        ConfigError: The sampler fails, or does not return `count` indices of the samples.
    """
    name = getattr(sampler, "__name__", type(sampler).__name__)
    try:
        chosen = sampler(distance, count, rng)
    except Exception as error:
        raise ConfigError(f"the sampler '{name}' failed: {type(error).__name__}: {error}") from error
    try:
        pick = torch.as_tensor(chosen, device=distance.device)
    except (RuntimeError, TypeError, ValueError) as error:
        found = describe(chosen)
        raise ConfigError(f"the sampler '{name}' must return {count} integer indices, got {found}") from error
    if pick.shape != (count,) or pick.is_floating_point() or pick.dtype == torch.bool:
        raise ConfigError(
            f"the sampler '{name}' must return {count} integer indices, got {pick.dtype} {tuple(pick.shape)}"
        )
    if count and not 0 <= int(pick.min()) <= int(pick.max()) < len(distance):
        raise ConfigError(
            f"the sampler '{name}' must return indices from 0 to {len(distance) - 1}, got {int(pick.min())} to "
            f"{int(pick.max())}"
        )
    return pick.long()


def samples_nbytes(store: SampleStore, shape: ShapeSummary, *, lattice: bool) -> int:
    """Memory in bytes of all samples of a shape, with the sparse lattice if `lattice` is set."""
    cells = store.config.sparse_resolution
    lattice_vertices = (cells + 1) ** 3 if lattice and cells else 0
    return 8 * (shape.band_samples + lattice_vertices) + 16 * shape.offsurface_samples


def load_samples(
    store: SampleStore,
    key: str,
    share: float,
    how: Draw | Sampler,
    rng: np.random.Generator,
    *,
    lattice: bool = False,
) -> ShapeSamples:
    """Load a random subset of a shape's samples into memory.

    Args:
        store: The sample store.
        key: Shape key, category/id.
        share: Fraction of the samples in (0, 1]. At least one chunk of the band is loaded.
        how: How batches will be drawn; determines the strata.
        rng: Source of random numbers.
        lattice: Add the vertices of the sparse lattice to the band samples.

    Raises:
        StoreError: The shape has neither a band nor off-surface samples within the band width.
    """
    if callable(how):
        how = "even"  # a sampler reads the distances, in any order
    offsurface = np.concatenate(
        store.offsurface_samples(key) if share == 1 else store.offsurface_subset(key, share, rng)
    )
    order, offsurface_strata = _stratify(offsurface[:, 3], "even" if how == "surface" else how, NEAR_DISTANCE)
    offsurface = offsurface[order]
    if store.summary(key).band_samples == 0:
        width = band_width(store.config.resolution, store.config.band_voxels)
        near_rows = np.flatnonzero(np.abs(offsurface[:, 3]) <= width)
        if len(near_rows) == 0:
            raise StoreError(
                f"{store.path}: shape '{key}' has neither a band nor a sample within {width:.4f} of its surface"
            )
        no_band = np.empty(0, np.uint32), np.empty(0, np.float32), SampleStrata((0, 0, 0, 0))
        return _to_tensors(*no_band, offsurface, offsurface_strata, near_rows)
    chunks = store.band_chunk_count(key)
    kept = chunks if share == 1 else max(1, int(chunks * share))
    index, distance = store.band(key, np.sort(rng.permutation(chunks)[:kept]).tolist())
    if lattice:
        lattice_index, lattice_distance = _sparse_lattice(store, key, share, rng)
        index, distance = np.concatenate((index, lattice_index)), np.concatenate((distance, lattice_distance))
    near = SURFACE_CELLS * 2 / store.config.resolution if how == "surface" else NEAR_DISTANCE
    order, band_strata = _stratify(distance, how, near)
    return _to_tensors(index[order], distance[order], band_strata, offsurface, offsurface_strata, np.empty(0, np.int64))


def _to_tensors(
    index: NDArray[np.uint32],
    distance: Float32,
    band_strata: SampleStrata,
    offsurface: Float32,
    offsurface_strata: SampleStrata,
    near_rows: NDArray[np.int64],
) -> ShapeSamples:
    """Wrap arrays as tensors.

    Indices become int32, because torch has few operations for uint32; the largest lattice, 1025^3 vertices, fits.
    """
    arrays: tuple[NDArray[Any], ...] = (index.view(np.int32), distance, offsurface, near_rows)
    tensors = [torch.from_numpy(values) for values in arrays]
    return ShapeSamples(tensors[0], tensors[1], band_strata, tensors[2], offsurface_strata, tensors[3])


def _sparse_lattice(
    store: SampleStore, key: str, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint32], Float32]:
    """Random subset of the sparse lattice: linear indices (N,) in the dense lattice, and signed distances (N,)."""
    values = store.sparse_distance(key)
    if values.size == 0:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    pick = np.arange(values.size) if share == 1 else rng.integers(values.size, size=int(share * values.size))
    step, side = store.config.resolution // store.config.sparse_resolution, store.config.resolution + 1
    i, j, k = np.unravel_index(pick, values.shape)
    index = (i * step * side + j * step) * side + k * step
    return index.astype(np.uint32), values.reshape(-1)[pick].astype(np.float32)


def _stratify(distance: Float32, how: Draw, near_distance: float) -> tuple[slice | NDArray[np.int64], SampleStrata]:
    """Return the order that sorts samples by stratum, and the strata; the stored order for uniform draws."""
    if how == "even":
        return slice(None), SampleStrata((0, 0, 0, len(distance)))
    inside = distance < 0
    near = np.abs(distance) <= near_distance
    stratum = np.where(near, np.where(inside, 1, 2), np.where(inside, 0, 3)).astype(np.uint8)
    first, second, third, fourth = np.cumsum(np.bincount(stratum, minlength=4)).tolist()
    return np.argsort(stratum, kind="stable"), SampleStrata((first, second, third, fourth))
