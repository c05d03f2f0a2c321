"""Points on the surfaces of shapes in memory, and batches of S shapes x P points: training without signed distances.

Normals are held where the loss asks for them. Beside each drawn point the batch has the same one moved by Gaussian
noise, and uniform points of the box, where IGR's eikonal term looks (METHODS 3). The noise is IGR's for shape spaces, a
constant: a space's clouds are dense, so that there is nothing to learn from how far their neighbours are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentsdf.config.schedules import is_used
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.sdf_batches import ShapeBatch, draw_mixture, mixture_count
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import StoreError

NEARBY = 0.01
"""Standard deviation per axis of the noise that moves points off the surface, in model space."""


@dataclass(frozen=True)
class PointBatch(ShapeBatch):
    """Points on the surface (S, P, 3) with outward unit normals (S, P, 3), or (S, P, 0) where these are not asked for,
    points near it (S, P, 3), and points of the box: uniform (S, R, 3), and of the mixture (S, H, 3)."""

    points: Tensor
    normals: Tensor
    near_points: Tensor
    box_points: Tensor
    mixture_points: Tensor


@dataclass(frozen=True)
class ShapePoints:
    """One shape's points (M, 3), or points and normals (M, 6)."""

    surface: Tensor

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.surface.nbytes

    def to(self, device: torch.device) -> "ShapePoints":
        """The same points on a device."""
        return replace(self, surface=self.surface.to(device))


class PointSource:
    """Surface points of a store's shapes, as `TrainConfig` and `LossConfig` ask for them; see `pool.Source`."""

    def __init__(self, store: SampleStore, train: TrainConfig, loss: LossConfig) -> None:
        self._store, self._columns = store, 6 if is_used(loss.normals) else 3
        self._points, self._box, self._mixture = train.points_per_shape, loss.regularizer_points, mixture_count(loss)

    def nbytes(self, key: str) -> int:
        """Memory that all points of a shape take; StoreError where there are none, or none with normals."""
        rows, columns = self._store.surface_shape(key)
        if rows == 0:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has no points of its surface, which train.samples: points learns "
                "from; preprocess with --surface above 0, or train with train.samples: sdf"
            )
        if columns < self._columns:
            raise StoreError(
                f"{self._store.path}: shape '{key}' has points without normals, which loss.normals asks for; set "
                "loss.normals to 0, or import clouds with normals"
            )
        return 4 * self._columns * rows

    def read(self, key: str, share: float, rng: np.random.Generator) -> ShapePoints:
        """A random share in (0, 1] of a shape's points."""
        rows = self._store.some_surface(key, share, rng)
        return ShapePoints(torch.from_numpy(np.ascontiguousarray(rows[:, : self._columns])))

    def draw(
        self, shapes: Sequence[ShapePoints], rows: Sequence[int], generators: Sequence[np.random.Generator]
    ) -> PointBatch:
        """A batch of these shapes, of which `rows` are the codes; points are drawn with replacement."""
        drawn, noise, box, mixture = [], [], [], []
        for shape, rng in zip(shapes, generators, strict=True):
            pick = torch.from_numpy(rng.integers(len(shape.surface), size=self._points))
            drawn.append(shape.surface[pick.to(shape.surface.device)])
            noise.append(torch.from_numpy(rng.standard_normal((self._points, 3), dtype=np.float32)))
            box.append(torch.from_numpy(rng.uniform(-1, 1, (self._box, 3)).astype(np.float32)))
            mixture.append(draw_mixture(self._mixture, rng))
        points, normals = torch.stack(drawn).split((3, self._columns - 3), dim=-1)
        near = points + NEARBY * torch.stack(noise).to(points.device)
        return PointBatch(torch.tensor(rows), points, normals, near, torch.stack(box), torch.stack(mixture))
