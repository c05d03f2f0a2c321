"""Batches of surface points, with or without normals, for training without signed distances (IGR, Gropp et al. 2020).

Per shape, a batch has P surface points drawn with replacement, each also displaced by Gaussian noise, and R uniform
points of the box. IGR evaluates its eikonal term at the displaced and the uniform points. The noise has a constant
standard deviation, as in the shape-space experiments of IGR, instead of the distance to a neighbor, which IGR uses for
a single point cloud.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentsdf.config.schedules import is_used
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.importance_sampling import draw_heat_points, heat_point_count
from latentsdf.data.records import ShapeSummary
from latentsdf.data.shape_batch import ShapeBatch
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import StoreError

NOISE_STD = 0.01
"""Standard deviation per axis of the displacement of near-surface points, in model space."""


@dataclass(frozen=True)
class PointBatch(ShapeBatch):
    """Points in model space of S shapes."""

    points: Tensor
    """(S, P, 3) points on the surface."""
    normals: Tensor
    """(S, P, 3) outward unit normals of `points`, or (S, P, 0) if the loss does not use normals."""
    near_points: Tensor
    """(S, P, 3) `points` with Gaussian noise of standard deviation `NOISE_STD`."""
    box_points: Tensor
    """(S, R, 3) uniform points of the box of half side `loss.regularizer_extent`."""
    heat_points: Tensor
    """(S, H, 3) points of `importance_sampling.HEAT_MIXTURE` for the heat term."""


@dataclass(frozen=True)
class ShapePoints:
    """Surface points of one shape in memory."""

    surface: Tensor
    """(M, 3) points, or (M, 6) points and normals."""

    @property
    def nbytes(self) -> int:
        """Memory of the tensor in bytes."""
        return self.surface.nbytes

    def to(self, device: torch.device) -> "ShapePoints":
        """Return the points on `device`."""
        return replace(self, surface=self.surface.to(device))


class PointSource:
    """Source of surface points (`train.samples: points`); implements `shape_batch.SampleSource`."""

    def __init__(self, store: SampleStore, train: TrainConfig, loss: LossConfig) -> None:
        """Keep normals in memory only if the loss has a normal term."""
        self._store, self._columns = store, 6 if is_used(loss.normals) else 3
        self._points, self._box, self._heat = train.points_per_shape, loss.regularizer_points, heat_point_count(loss)
        self._extent = loss.regularizer_extent

    def nbytes(self, key: str, shape: ShapeSummary) -> int:
        """Return the memory in bytes of all surface points of a shape.

        Raises:
            StoreError: The shape has no surface points, or none with the normals that the loss needs.
        """
        rows, columns = shape.surface_shape
        if rows == 0:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has no surface points, which train.samples: points requires; "
                "preprocess with --surface above 0, or train with train.samples: sdf"
            )
        if columns < self._columns:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has points without normals, which loss.normals requires; set "
                "loss.normals to 0, or import point clouds with normals"
            )
        return 4 * self._columns * rows

    def read(self, key: str, share: float, rng: np.random.Generator) -> ShapePoints:
        """Read a random fraction `share` in (0, 1] of a shape's surface points."""
        rows = self._store.surface_subset(key, share, rng)
        return ShapePoints(torch.from_numpy(np.ascontiguousarray(rows[:, : self._columns])))

    def draw(
        self, shapes: Sequence[ShapePoints], rows: Sequence[int], generators: Sequence[np.random.Generator]
    ) -> PointBatch:
        """Draw a batch, the points of each shape with replacement.

        Args:
            shapes: Surface points of S shapes.
            rows: Row of each shape in the table of latent codes.
            generators: One random generator per shape.
        """
        drawn, noise, box, heat = [], [], [], []
        for shape, rng in zip(shapes, generators, strict=True):
            pick = torch.from_numpy(rng.integers(len(shape.surface), size=self._points))
            drawn.append(shape.surface[pick.to(shape.surface.device)])
            noise.append(torch.from_numpy(rng.standard_normal((self._points, 3), dtype=np.float32)))
            box.append(torch.from_numpy(rng.uniform(-self._extent, self._extent, (self._box, 3)).astype(np.float32)))
            heat.append(draw_heat_points(self._heat, rng))
        points, normals = torch.stack(drawn).split((3, self._columns - 3), dim=-1)
        near = points + NOISE_STD * torch.stack(noise).to(points.device)
        return PointBatch(torch.tensor(rows), points, normals, near, torch.stack(box), torch.stack(heat))
