"""Batches of signed distance samples: S shapes x P points, drawn from the samples of each shape in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentsdf.config.schedules import is_used
from latentsdf.config.training import Draw, LossConfig, TrainConfig
from latentsdf.data.importance_sampling import draw_heat_points, heat_point_count
from latentsdf.data.records import ShapeSummary
from latentsdf.data.sdf_samples import Sampler, ShapeSamples, load_samples, samples_nbytes
from latentsdf.data.shape_batch import ShapeBatch
from latentsdf.data.store import SampleStore
from latentsdf.utils.entry_points import load_entry_point
from latentsdf.utils.errors import StoreError
from latentsdf.utils.torch_lattice import vertex_positions


@dataclass(frozen=True)
class SdfBatch(ShapeBatch):
    """Points in model space and signed distances, negative inside, of S shapes."""

    band_points: Tensor
    """(S, P, 3) points in the narrow band."""
    band_distance: Tensor
    """(S, P)"""
    offsurface_points: Tensor
    """(S, F, 3) points near the surface and uniform in the box."""
    offsurface_distance: Tensor
    """(S, F)"""
    box_points: Tensor
    """(S, R, 3) uniform points of the box of half side `loss.regularizer_extent` for the regularizers of the general
    branch, without distances."""
    heat_points: Tensor
    """(S, H, 3) points of `importance_sampling.HEAT_MIXTURE` for the heat term, without distances."""


@dataclass(frozen=True)
class BatchSizes:
    """Number of points of each kind that a batch has per shape."""

    band: int
    offsurface: int
    box: int
    heat: int
    extent: float = 1.0
    """Half side of the box of the `box` points."""


def draw_batch(
    shapes: Sequence[ShapeSamples],
    rows: Sequence[int],
    sizes: BatchSizes,
    resolution: int,
    how: Draw | Sampler,
    generators: Sequence[np.random.Generator],
) -> SdfBatch:
    """Draw a batch, the points of each shape with replacement unless a sampler draws otherwise.

    Args:
        shapes: Samples of S shapes.
        rows: Row of each shape in the table of latent codes.
        sizes: Number of points per shape.
        resolution: Cells per axis of the dense lattice.
        how: Allocation of the draws to strata, see `SampleStrata.draw`, or a sampler.
        generators: One random generator per shape.

    Returns:
        The batch, with samples on the device that holds them and box and heat points on the CPU.
    """
    band, distance, offsurface, box, heat = [], [], [], [], []
    for shape, rng in zip(shapes, generators, strict=True):
        positions, signed = shape.draw_band(sizes.band, how, rng)
        band.append(positions)
        distance.append(signed)
        offsurface.append(shape.draw_offsurface(sizes.offsurface, how, rng))
        box.append(torch.from_numpy(rng.uniform(-sizes.extent, sizes.extent, (sizes.box, 3)).astype(np.float32)))
        heat.append(draw_heat_points(sizes.heat, rng))
    offsurface_samples = torch.stack(offsurface)
    if all(positions.ndim == 1 for positions in band):
        # One conversion for all shapes: each one is a small operation, dominated by its overhead.
        band_points = _lattice_points(torch.stack(band), resolution)
    else:
        band_points = torch.stack(
            [_lattice_points(positions, resolution) if positions.ndim == 1 else positions for positions in band]
        )
    return SdfBatch(
        torch.tensor(rows),
        band_points,
        torch.stack(distance),
        offsurface_samples[..., :3],
        offsurface_samples[..., 3],
        torch.stack(box),
        torch.stack(heat),
    )


def box_point_count(loss: LossConfig) -> int:
    """Number of uniform points per shape that the regularizers of the general branch need."""
    weights = (loss.eikonal, loss.directional_divergence, loss.lipschitz)
    regularized = loss.regularizer_branch == "general" and any(map(is_used, weights))
    return loss.regularizer_points if regularized else 0


class SdfSource:
    """Source of signed distance samples (`train.samples: sdf`); implements `shape_batch.SampleSource`."""

    def __init__(
        self, store: SampleStore, train: TrainConfig, loss: LossConfig, sampler: Sampler | None = None
    ) -> None:
        """Determine the batch sizes from the terms of the loss that are enabled.

        Args:
            store: The sample store.
            train: Batch sizes and allocation of the draws.
            loss: Weights of the terms.
            sampler: Draws the samples instead of `train.draw` and `train.sampler`.

        Raises:
            ConfigError: No installed package offers the sampler `train.sampler`.
        """
        self._store, self._train = store, train
        if sampler is None and train.sampler:
            sampler = load_entry_point("latentsdf.samplers", train.sampler, "pass ls.train(sampler=...)")
        self._how: Draw | Sampler = train.draw if sampler is None else sampler
        self._sizes = BatchSizes(
            band=train.points_per_shape,
            offsurface=max(1, round(train.points_per_shape * train.free_share)),
            box=box_point_count(loss),
            heat=heat_point_count(loss),
            extent=loss.regularizer_extent,
        )

    def nbytes(self, key: str, shape: ShapeSummary) -> int:
        """Return the memory in bytes of all samples of a shape.

        Raises:
            StoreError: The shape has no signed distances.
        """
        size = samples_nbytes(self._store, shape, lattice=self._train.lattice)
        if size == 0:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has only surface points and no signed distances; train with "
                "train.samples: points, as the preset `igr` does"
            )
        return size

    def read(self, key: str, share: float, rng: np.random.Generator) -> ShapeSamples:
        """Read a random fraction `share` in (0, 1] of a shape's samples."""
        return load_samples(self._store, key, share, self._how, rng, lattice=self._train.lattice)

    def draw(
        self, shapes: Sequence[ShapeSamples], rows: Sequence[int], generators: Sequence[np.random.Generator]
    ) -> SdfBatch:
        """Draw a batch, see `draw_batch`."""
        return draw_batch(shapes, rows, self._sizes, self._store.config.resolution, self._how, generators)


def _lattice_points(index: Tensor, resolution: int) -> Tensor:
    """Coordinates (..., 3) in [-1, 1] of lattice vertices with linear indices (...)."""
    side = resolution + 1
    plane, k = index // side, index % side
    return vertex_positions(torch.stack((plane // side, plane % side, k), dim=-1), resolution)
