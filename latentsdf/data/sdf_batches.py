"""The samples of one shape in memory, and batches of S shapes x P points drawn from them.

Samples near the surface stay as they are stored, a lattice index and a distance (8 bytes), and become coordinates only
when drawn. Which samples a batch has is decided on the CPU, from a seed, and they are gathered on the device that holds
them, so that a run sees the same ones wherever it keeps them. The strata of a band and any run of free-space rows are
fair samples, so a part of a shape loses resolution evenly, not in one place. A shape without band, whose samples were
imported, draws in its place those of its free-space samples that are as close to the surface.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.schedules import is_used
from latentsdf.config.training import Draw, LossConfig, TrainConfig
from latentsdf.data.mixture import Mixture
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import band_width
from latentsdf.utils.errors import StoreError
from latentsdf.utils.lattice import vertex_positions

NEAR = 0.1
"""Samples within this distance are drawn half of the time where `draw` is 'near' (METHODS 1.3)."""

BESIDE = 1.0
"""Band samples within so many cells of the surface are drawn half of the time where `draw` is 'surface'. A cell edge
that the surface crosses has both ends there."""

MIXTURE = Mixture(dim=3, extent=1.0, std=0.5)
"""Where the general branch's heat term looks. Half of the points crowd where shapes are."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class ShapeBatch:
    """S shapes: rows of their codes `shape` (S,), and tensors that start with that axis."""

    shape: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def one(self, position: int) -> Self:
        """The batch of a single shape of this one."""
        some = slice(position, position + 1)
        return replace(self, **{field.name: getattr(self, field.name)[some] for field in fields(self)})


@dataclass(frozen=True)
class Batch(ShapeBatch):
    """Band samples (S, P, 3) with signed distance (S, P), free-space ones (S, F, 3) with theirs, and points of the box:
    uniform (S, R, 3), and of the mixture (S, H, 3)."""

    band_points: Tensor
    band_distance: Tensor
    free_points: Tensor
    free_distance: Tensor
    box_points: Tensor
    mixture_points: Tensor


@dataclass(frozen=True)
class SampleStrata:
    """Where each class ends among samples in the order inside far, inside near, outside near, outside far."""

    ends: tuple[int, int, int, int]

    def draw(self, count: int, how: Draw, rng: np.random.Generator) -> Tensor:
        """Places (count,) of samples drawn with replacement; a class that is empty is replaced by the near ones."""
        total = self.ends[3]
        if how == "even":
            return torch.from_numpy(rng.integers(total, size=count))
        inside, outside, near = (0, self.ends[1]), (self.ends[1], total), (self.ends[0], self.ends[2])
        wanted: tuple[tuple[tuple[int, int], int], ...]
        if how == "signs":
            wanted = ((inside, count // 2), (outside, count - count // 2))
        elif how == "surface":  # of free space nothing is near, so that it is drawn alike
            wanted = (((0, total), count - count // 2), (near, count // 2))
        else:
            quarter = count // 4
            wanted = ((near, count - 2 * quarter), (inside, quarter), (outside, quarter))
        spare = near if near[0] < near[1] else (0, total)
        return torch.from_numpy(
            np.concatenate([rng.integers(*(span if span[0] < span[1] else spare), size=size) for span, size in wanted])
        )


@dataclass(frozen=True)
class ShapeSamples:
    """One shape's samples: `band_index` (B,) of the dense lattice, `band_distance` (B,), `free` (M, 4) near and far.

    Where there is no band, `close` (K,) are the rows of `free` that stand in for it.
    """

    band_index: Tensor
    band_distance: Tensor
    band_classes: SampleStrata
    free: Tensor
    free_classes: SampleStrata
    close: Tensor

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.band_index.nbytes + self.band_distance.nbytes + self.free.nbytes + self.close.nbytes

    def to(self, device: torch.device) -> "ShapeSamples":
        """The same samples on a device."""
        return replace(
            self,
            band_index=self.band_index.to(device),
            band_distance=self.band_distance.to(device),
            free=self.free.to(device),
            close=self.close.to(device),
        )

    def draw_band(self, points: int, how: Draw, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Samples near the surface, or of the band and the whole lattice, and their distance (P,).

        Linear indices (P,) of lattice vertices; points (P, 3) of a shape without a band.
        """
        if len(self.band_index):
            pick = self.band_classes.draw(points, how, rng).to(self.free.device)
            return self.band_index[pick], self.band_distance[pick]
        pick = torch.from_numpy(rng.integers(len(self.close), size=points)).to(self.free.device)
        rows = self.free[self.close[pick]]
        return rows[:, :3], rows[:, 3]

    def draw_free(self, points: int, how: Draw, rng: np.random.Generator) -> Tensor:
        """Free-space samples (P, 4)."""
        return self.free[self.free_classes.draw(points, how, rng).to(self.free.device)]


def _positions(index: Tensor, resolution: int) -> Tensor:
    """Positions (..., 3) in [-1, 1] of lattice vertices with linear indices (...)."""
    side = resolution + 1
    plane, k = index // side, index % side
    return vertex_positions(torch.stack((plane // side, plane % side, k), dim=-1), resolution)


def draw(
    shapes: Sequence[ShapeSamples],
    rows: Sequence[int],
    sizes: tuple[int, int, int, int],
    resolution: int,
    how: Draw,
    generators: Sequence[np.random.Generator],
) -> Batch:
    """`sizes` band samples, free-space samples, uniform points and points of the mixture of each shape, by its own
    generator."""
    band, distance, free, box, mixture = [], [], [], [], []
    for shape, rng in zip(shapes, generators, strict=True):
        at, signed = shape.draw_band(sizes[0], how, rng)
        band.append(at)
        distance.append(signed)
        free.append(shape.draw_free(sizes[1], how, rng))
        box.append(torch.from_numpy(rng.uniform(-1, 1, (sizes[2], 3)).astype(np.float32)))
        mixture.append(draw_mixture(sizes[3], rng))
    free_samples = torch.stack(free)
    if all(at.ndim == 1 for at in band):
        band_points = _positions(torch.stack(band), resolution)  # of all shapes at once: these are small operations
    else:
        band_points = torch.stack([_positions(at, resolution) if at.ndim == 1 else at for at in band])
    return Batch(
        torch.tensor(rows),
        band_points,
        torch.stack(distance),
        free_samples[..., :3],
        free_samples[..., 3],
        torch.stack(box),
        torch.stack(mixture),
    )


def mixture_count(loss: LossConfig) -> int:
    """How many points of the mixture the loss asks for: an even number, of which half is half."""
    asked = is_used(loss.heat) and loss.regularizer_branch == "general"
    return 2 * math.ceil(loss.regularizer_points / 2) if asked else 0


def draw_mixture(count: int, rng: np.random.Generator) -> Tensor:
    """Points (count, 3) of the mixture; none leave the generator as it was."""
    if count == 0:
        return torch.empty(0, 3)
    return MIXTURE.draw(count, torch.Generator().manual_seed(int(rng.integers(2**63))))


class SdfSource:
    """Signed samples of a store's shapes, as `TrainConfig` and `LossConfig` ask for them; see `pool.Source`."""

    def __init__(self, store: SampleStore, train: TrainConfig, loss: LossConfig) -> None:
        self._store, self._train = store, train
        weights = (loss.eikonal, loss.directional_divergence, loss.lipschitz)
        regularized = loss.regularizer_branch == "general" and any(map(is_used, weights))
        points, free = train.points_per_shape, max(1, round(train.points_per_shape * train.free_share))
        self._sizes = (points, free, loss.regularizer_points if regularized else 0, mixture_count(loss))

    def nbytes(self, key: str) -> int:
        """Memory that all samples of a shape take; StoreError where there are none."""
        size = bytes_of(self._store, key, lattice=self._train.lattice)
        if size == 0:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has points of its surface alone and no signed distances; train "
                "with train.samples: points, as configs/igr.yaml does"
            )
        return size

    def read(self, key: str, share: float, rng: np.random.Generator) -> ShapeSamples:
        """A random share of a shape's samples; see `load`."""
        return load(self._store, key, share, self._train.draw, rng, lattice=self._train.lattice)

    def draw(
        self, shapes: Sequence[ShapeSamples], rows: Sequence[int], generators: Sequence[np.random.Generator]
    ) -> Batch:
        """A batch of these shapes, of which `rows` are the codes."""
        return draw(shapes, rows, self._sizes, self._store.config.resolution, self._train.draw, generators)


def bytes_of(store: SampleStore, key: str, *, lattice: bool) -> int:
    """Memory that all samples of a shape take."""
    cells = store.config.sparse_resolution
    points = (cells + 1) ** 3 if lattice and cells else 0
    return 8 * (store.info(key).band_samples + points) + 16 * store.offsurface_rows(key)


def load(
    store: SampleStore, key: str, share: float, how: Draw, rng: np.random.Generator, *, lattice: bool = False
) -> ShapeSamples:
    """A random share in (0, 1] of a shape's samples, at least one stratum of its band; all of them for a share of 1.

    With `lattice` the sparse lattice joins the band. Raises StoreError where there is nothing near the surface.
    """
    free = np.concatenate(
        store.offsurface_samples(key) if share == 1 else store.some_offsurface_samples(key, share, rng)
    )
    order, free_classes = _order(free[:, 3], "even" if how == "surface" else how, NEAR)
    free = free[order]
    if store.info(key).band_samples == 0:
        width = band_width(store.config.resolution, store.config.band_voxels)
        close = np.flatnonzero(np.abs(free[:, 3]) <= width)
        if len(close) == 0:
            raise StoreError(f"{store.path}: shape '{key}' has neither a band nor a sample within {width:.4f} of it")
        nothing = SampleStrata((0, 0, 0, 0))
        return _held(np.empty(0, np.uint32), np.empty(0, np.float32), nothing, free, free_classes, close)
    strata = store.band_strata(key)
    kept = strata if share == 1 else max(1, int(strata * share))
    index, distance = store.band(key, np.sort(rng.permutation(strata)[:kept]).tolist())
    if lattice:
        more_index, more_distance = _sparse(store, key, share, rng)
        index, distance = np.concatenate((index, more_index)), np.concatenate((distance, more_distance))
    near = BESIDE * 2 / store.config.resolution if how == "surface" else NEAR
    order, classes = _order(distance, how, near)
    return _held(index[order], distance[order], classes, free, free_classes, np.empty(0, np.int64))


def _held(
    index: NDArray[np.uint32],
    distance: Float32,
    classes: SampleStrata,
    free: Float32,
    free_classes: SampleStrata,
    close: NDArray[np.int64],
) -> ShapeSamples:
    """As tensors; indices with a sign, which devices can compute with and no lattice of ours outgrows."""
    arrays: tuple[NDArray[Any], ...] = (index.view(np.int32), distance, free, close)
    tensors = [torch.from_numpy(values) for values in arrays]
    return ShapeSamples(tensors[0], tensors[1], classes, tensors[2], free_classes, tensors[3])


def _sparse(store: SampleStore, key: str, share: float, rng: np.random.Generator) -> tuple[NDArray[np.uint32], Float32]:
    """A share of the sparse lattice: indices of the dense lattice, and distances."""
    values = store.sparse(key)
    if values.size == 0:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    pick = np.arange(values.size) if share == 1 else rng.integers(values.size, size=int(share * values.size))
    step, side = store.config.resolution // store.config.sparse_resolution, store.config.resolution + 1
    i, j, k = np.unravel_index(pick, values.shape)
    index = (i * step * side + j * step) * side + k * step
    return index.astype(np.uint32), values.reshape(-1)[pick].astype(np.float32)


def _order(distance: Float32, how: Draw, near: float) -> tuple[slice | NDArray[np.int64], SampleStrata]:
    """The order by class where classes are drawn; as they are where all are drawn alike."""
    if how == "even":
        return slice(None), SampleStrata((0, 0, 0, len(distance)))
    inside = distance < 0
    number = np.where(np.abs(distance) <= near, np.where(inside, 1, 2), np.where(inside, 0, 3)).astype(np.uint8)
    first, second, third, fourth = np.cumsum(np.bincount(number, minlength=4)).tolist()
    return np.argsort(number, kind="stable"), SampleStrata((first, second, third, fourth))
