"""Batches of samples from a source of the user's own, instead of a sample store.

A source is any object with the attributes and the method of `BatchSource`; it needs no base class. Samples may be
computed on demand, so they need not fit in memory or on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.sampling import Normalization
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.importance_sampling import draw_heat_points, heat_point_count
from latentsdf.data.point_batches import NOISE_STD, PointBatch
from latentsdf.data.sdf_batches import SdfBatch, box_point_count
from latentsdf.data.store import complete_key
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.utils.errors import ConfigError, LatentSDFError, TrainingError

Array: TypeAlias = NDArray[Any] | Tensor

_MAX_COORDINATE = 1.1  # model space; beyond it, the points are probably in another frame


@dataclass(frozen=True)
class SourceBatch:
    """Batch returned by a source: samples of S distinct shapes in model space [-1, 1]^3, as NumPy arrays or tensors.

    With `train.samples: sdf` (default), a batch has `band` and `offsurface`; with `train.samples: points`, `surface`.
    """

    rows: Sequence[int] | Array
    """(S,) index of each shape in the `ids` of the source."""
    band: Array | None = None
    """(S, P, 4) points close to the surface and their signed distances, negative inside. They train both branches."""
    offsurface: Array | None = None
    """(S, F, 4) points anywhere in the box and their signed distances. They train the general branch."""
    surface: Array | None = None
    """(S, P, 3) points on the surface, or (S, P, 6) with outward unit normals, which `loss.normals` needs."""


@runtime_checkable
class BatchSource(Protocol):
    """Interface of a source of batches: `ls.train(source=...)`.

    Optional attributes: `normalization` (`sphere`, `cube` or `none`, by default `sphere`), which maps shapes that are
    fitted later to model space; `similarities`, one `Similarity` per id from the frame of the shape to model space, by
    default the identity; and `close()`, which is called at the end of the run.
    """

    ids: Sequence[str]
    """Names of the training shapes, `id` or `category/id`; each has one latent code."""

    def batch(self, step: int, rng: np.random.Generator) -> SourceBatch:
        """Return the batch of a step.

        Args:
            step: Number of the step, from 0.
            rng: Random numbers, the same ones whenever this step is taken with this seed. A source that uses no others
                makes resumed runs equal to uninterrupted ones. Processes of `torchrun` have different ones.
        """


class SourcePool:
    """Batches of a `BatchSource`, checked and converted; has the interface of `sample_pool.ShapeSamplePool`.

    Attributes:
        keys: category/id of the training shapes.
        normalization: Normalization that maps new shapes to model space.
        similarities: Similarity from the frame of each shape to model space.
        augmented: Keys of deformed copies; none.
        batch_shapes: Number of shapes of the first batch.
    """

    share, nbytes, streams = 1.0, 0, False

    def __init__(
        self, source: BatchSource, train: TrainConfig, loss: LossConfig, *, rank: int = 0, world_size: int = 1
    ) -> None:
        """Check the source and its first batch.

        Args:
            source: The source.
            train: Seed and kind of samples.
            loss: Determines the points that are added for regularizers.
            rank: Rank of this process.
            world_size: Number of processes.

        Raises:
            ConfigError: The source lacks an attribute, or its first batch has other shapes than expected.
            TrainingError: The source raises an exception.
        """
        self._source, self._train, self._loss = source, train, loss
        self._rank, self._world_size = rank, world_size
        self._name = type(source).__name__
        if not callable(getattr(source, "batch", None)) or not hasattr(source, "ids"):
            raise ConfigError(
                f"a source of batches needs an attribute ids and a method batch(step, rng), which {self._name} lacks; "
                "see latentsdf.BatchSource"
            )
        self.keys = [complete_key(name) for name in source.ids]
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise ConfigError(f"{self._name}.ids must be distinct names of at least one shape, got {self.keys[:8]}")
        self.normalization: Normalization = getattr(source, "normalization", "sphere")
        if self.normalization not in get_args(Normalization):
            raise ConfigError(
                f"{self._name}.normalization must be one of {', '.join(get_args(Normalization))}, got "
                f"{self.normalization!r}"
            )
        self.similarities: list[Similarity] = list(getattr(source, "similarities", [IDENTITY] * len(self.keys)))
        if len(self.similarities) != len(self.keys):
            raise ConfigError(
                f"{self._name}.similarities has {len(self.similarities)} entries for {len(self.keys)} ids"
            )
        self.augmented: frozenset[str] = frozenset()
        self.slots = len(self.keys)
        self.batch_shapes = len(self.batch(0).shape_index)

    def epoch(self, step: int) -> float:
        """Number of passes over the training shapes at the start of a step, if all batches have equally many shapes."""
        return step * self.batch_shapes * self._world_size / len(self.keys)

    def fill(self, step: int) -> None:
        """Do nothing: a source reads its samples when it draws a batch."""

    def close(self) -> None:
        """Close the source, if it has a method `close`."""
        if hasattr(self._source, "close"):
            self._source.close()

    def batch(self, step: int) -> SdfBatch | PointBatch:
        """Draw the batch of a step from the source.

        Raises:
            ConfigError: The batch has other shapes than expected, or its points are outside model space.
            TrainingError: The source raises an exception.
        """
        rng = np.random.default_rng((self._train.seed, self._rank, step))
        try:
            drawn = self._source.batch(step, rng)
        except LatentSDFError:
            raise
        except Exception as error:
            raise TrainingError(
                f"step {step}: {self._name}.batch failed: {type(error).__name__}: {error}; the last checkpoint is kept"
            ) from error
        if not isinstance(drawn, SourceBatch):
            raise ConfigError(f"{self._name}.batch must return a latentsdf.SourceBatch, got {type(drawn).__name__}")
        rows = self._checked_rows(drawn)
        count = len(rows)
        heat = torch.stack([draw_heat_points(heat_point_count(self._loss), rng) for _ in range(count)])
        if self._train.samples == "points":
            surface = self._checked("surface", drawn.surface, count, (3, 6))
            points, normals = surface.split((3, surface.shape[-1] - 3), dim=-1)
            noise = torch.from_numpy(rng.standard_normal(points.shape, dtype=np.float32)).to(points.device)
            box = _uniform_points(count, self._loss.regularizer_points, self._loss.regularizer_extent, rng)
            return PointBatch(rows, points, normals, points + NOISE_STD * noise, box, heat)
        band = self._checked("band", drawn.band, count, (4,))
        offsurface = self._checked("offsurface", drawn.offsurface, count, (4,))
        box = _uniform_points(count, box_point_count(self._loss), self._loss.regularizer_extent, rng)
        return SdfBatch(rows, band[..., :3], band[..., 3], offsurface[..., :3], offsurface[..., 3], box, heat)

    def _checked_rows(self, drawn: SourceBatch) -> Tensor:
        rows = torch.as_tensor(drawn.rows)
        if rows.ndim != 1 or not len(rows) or rows.is_floating_point() or len(rows.unique()) < len(rows):
            raise ConfigError(
                f"{self._name}.batch: rows must be distinct integers (S,), at least one, got {rows.dtype} "
                f"{tuple(rows.shape)}"
            )
        if rows.min() < 0 or rows.max() >= len(self.keys):
            raise ConfigError(
                f"{self._name}.batch: rows must be from 0 to {len(self.keys) - 1}, one for each of the ids, got "
                f"{int(rows.min())} to {int(rows.max())}"
            )
        return rows.long()

    def _checked(self, name: str, values: Array | None, count: int, columns: tuple[int, ...]) -> Tensor:
        """Return an array of the batch as a float32 tensor (count, P, columns)."""
        if name == "surface" and max(self._loss.normals) > 0:
            columns = (6,)
        expected = f"({count}, P, {' or '.join(map(str, columns))})"
        if values is None:
            raise ConfigError(
                f"{self._name}.batch: train.samples: {self._train.samples} needs {name} {expected} in every batch"
            )
        tensor = torch.as_tensor(values, dtype=torch.float32)
        if tensor.ndim != 3 or len(tensor) != count or not tensor.shape[1] or tensor.shape[2] not in columns:
            raise ConfigError(f"{self._name}.batch: expected {name} {expected}, got {tuple(tensor.shape)}")
        if tensor[..., :3].abs().max() > _MAX_COORDINATE:
            raise ConfigError(
                f"{self._name}.batch: {name} reaches {float(tensor[..., :3].abs().max()):.3g}, outside model space "
                "[-1, 1]^3; scale the shapes first"
            )
        return tensor


def _uniform_points(shapes: int, count: int, extent: float, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(-extent, extent, (shapes, count, 3)).astype(np.float32))
