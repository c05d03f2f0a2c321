"""Training samples of a store in bounded memory, and the batches drawn from them.

Samples that fit in the memory budget are read once. Otherwise the pool keeps a fixed number of slots, each with a part,
a random subset of one shape's samples. Every `REFRESH_STEPS` steps the oldest part is replaced by the next one, which a
background thread has read in advance. Parts follow one fixed cyclic order of the shapes, so no two resident parts
belong to the same shape.

All samples are kept on the GPU of the run if they fit in half of its free memory, otherwise in system memory.

All random choices are functions of the seed and the step. Part n belongs to shape `order[n % N]`, its subset is drawn
by generator (seed, n), and the batch of a step by generators (seed, step, shape). A resumed run therefore draws the
same batches as an uninterrupted one.
"""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from latentsdf.config.sampling import Normalization
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.point_batches import PointBatch, PointSource
from latentsdf.data.sampling_faults import known_fault
from latentsdf.data.sdf_batches import SdfBatch, SdfSource
from latentsdf.data.sdf_samples import Sampler
from latentsdf.data.shape_batch import SampleSource
from latentsdf.data.store import SampleStore
from latentsdf.geometry.similarity import Similarity
from latentsdf.utils.console import track
from latentsdf.utils.devices import free_gpu_memory
from latentsdf.utils.errors import StoreError

_PART_BYTES = 3 << 20
"""Minimum size of a part of a larger shape; smaller parts are dominated by the overhead of reading."""

REFRESH_STEPS = 4
"""Steps after which the oldest resident part is replaced by the next one, if samples are streamed."""

_READ_AHEAD = 4
"""Number of parts that are read in advance."""

_EAGER_PARTS = 1_000
"""Number of parts up to which all are read before the first step."""
_EAGER_SECONDS = 3.0
"""Time in seconds for which more parts than that are read before the first step; further ones are read when a batch
needs them, and meanwhile in the background, so that training on 100,000 shapes starts at once."""

_PART_STREAM, _SHAPE_STREAM, _POINT_STREAM = range(3)
"""Independent random streams: subset of a part, shapes of a batch, points of a batch."""


class ShapeSamplePool:
    """Resident samples of a store, from which each process draws its share of every batch.

    Attributes:
        store: The sample store.
        keys: Keys of the training shapes; their order defines the rows of the latent code table.
        share: Fraction of a shape's samples in a part; 1 if whole shapes are resident.
        slots: Number of resident parts.
        nbytes: Estimated memory of the resident samples, in bytes.
        batch_shapes: Number of shapes in a batch, in each process.
        similarities: Similarity from the frame of each shape to model space.
        augmented: Keys of the shapes that are deformed copies of others.
        known_faults: Known faults of the samples of shapes that an earlier version sampled, by key.
    """

    def __init__(
        self,
        store: SampleStore,
        keys: Sequence[str],
        train: TrainConfig,
        loss: LossConfig,
        *,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
        sampler: Sampler | None = None,
    ) -> None:
        """Plan the memory; samples are read by `fill` or the first `batch`.

        Args:
            store: The sample store.
            keys: Keys of the training shapes.
            train: Batch sizes, memory budget and seed.
            loss: Determines which points the batches contain.
            device: Device of the run, which holds the samples if they fit; None for system memory.
            rank: Rank of this process.
            world_size: Number of processes.
            sampler: Draws the samples of a shape instead of `train.draw`; for `train.samples: sdf`.

        Raises:
            ConfigError: The sampler that the settings name is not installed.
            StoreError: There are fewer shapes than processes, or a shape lacks the samples that training needs.
        """
        if len(keys) < world_size:
            raise StoreError(
                f"{store.path}: {len(keys)} shapes to train on for {world_size} processes; run latentsdf-preprocess "
                "first, or start fewer processes"
            )
        self.store, self.keys, self._settings = store, list(keys), train
        self._rank, self._world_size = rank, world_size
        self._source: SampleSource = (
            PointSource(store, train, loss) if train.samples == "points" else SdfSource(store, train, loss, sampler)
        )
        sizes = self._summarize()
        budget = train.memory_gb * 1e9
        total = sum(sizes)
        on_device = device is not None and total <= free_gpu_memory(device) / 2
        self._device = device if device is not None and on_device else torch.device("cpu")
        if total <= budget or on_device:
            self.share, self.slots, self.nbytes = 1.0, len(keys), total
            self._order = np.arange(len(keys))
        else:
            mean = total / len(keys)
            self.share = min(1.0, max(budget / total, _PART_BYTES / mean))
            fitting = int(budget / (self.share * mean))
            self.slots = min(len(keys), max(fitting, world_size * train.shapes_per_batch))
            self.nbytes = int(self.slots * self.share * mean)
            self._order = np.random.default_rng(train.seed).permutation(len(keys))
        self.batch_shapes = min(train.shapes_per_batch, self.slots // world_size)
        self._parts: list[Any] = []
        self._first_part = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._pending: dict[int, Future[Any]] = {}
        self._ahead, self._arriving = 0, dict[int, Future[Any]]()

    @property
    def normalization(self) -> Normalization:
        """Normalization that maps new shapes to model space."""
        return self.store.config.normalization

    def _summarize(self) -> list[int]:
        """Read the metadata of all shapes, in a file each, and return the sizes of their samples in bytes."""
        sizes, similarities, augmented, faults = [], [], set(), {}
        for key in self.keys:
            shape = self.store.summary(key)
            sizes.append(self._source.nbytes(key, shape))
            similarities.append(shape.similarity)
            if shape.augmented:
                augmented.add(key)
            if (fault := known_fault(shape)) is not None:
                faults[key] = fault
        self.similarities: list[Similarity] = similarities
        self.augmented: frozenset[str] = frozenset(augmented)
        self.known_faults: dict[str, str] = faults
        return sizes

    @property
    def streams(self) -> bool:
        """True if only a part of the samples is resident at a time."""
        return self.share < 1 or self.slots < len(self.keys)

    def epoch(self, step: int) -> float:
        """Number of passes over the training shapes, fractional, at the start of a step."""
        return step * self.batch_shapes * self._world_size / len(self.keys)

    def batch(self, step: int) -> SdfBatch | PointBatch:
        """Draw this process's part of the batch of a step.

        The shapes of a batch are distinct, across all processes.
        """
        self.fill(step)
        slots = self._batch_slots(step)[self._rank * self.batch_shapes :][: self.batch_shapes]
        rows = [self._row(self._part_in(slot)) for slot in slots]
        generators = [self._generator(_POINT_STREAM, step, row) for row in rows]
        parts = [self._resident(slot) for slot in slots]
        batch: SdfBatch | PointBatch = self._source.draw(parts, rows, generators)
        return batch

    def fill(self, step: int) -> None:
        """Read the samples that must be resident at a step.

        `batch` does so implicitly; a separate call excludes the first read from time measurements.
        """
        self._advance_to(step // REFRESH_STEPS if self.streams else 0)
        self._read_further()

    def close(self) -> None:
        """Stop the background reader."""
        self._reader.shutdown(cancel_futures=True)

    def _batch_slots(self, step: int) -> list[int]:
        """Slots of the batch of all processes; a pass visits each slot at most once, in random order."""
        together = self.batch_shapes * self._world_size
        epoch, position = divmod(step, self.slots // together)
        order = self._generator(_SHAPE_STREAM, epoch).permutation(self.slots)
        slots: list[int] = order[position * together :][:together].tolist()
        return slots

    def _advance_to(self, first: int) -> None:
        """Make `first` to `first + slots - 1` the resident parts and start to read the next ones."""
        if not self._parts or not self._first_part <= first <= self._first_part + self.slots:
            self._first_part = first
            self._parts = self._read_all()
        while self._first_part < first:
            part = self._first_part + self.slots
            future = self._pending.pop(part, None) or self._reader.submit(self._read, part)
            self._parts[part % self.slots] = future.result()
            self._arriving.pop(part % self.slots, None)
            self._first_part += 1
        if self.streams:
            for part in range(first + self.slots, first + self.slots + _READ_AHEAD):
                if part not in self._pending:
                    self._pending[part] = self._reader.submit(self._read, part)

    def _read_all(self) -> list[Any]:
        """Read the resident parts; of many, only the first ones."""
        parts: list[Any] = [None] * self.slots
        end = math.inf if self.slots <= _EAGER_PARTS else time.monotonic() + _EAGER_SECONDS
        self._ahead, self._arriving = 0, {}
        with track("reading samples", total=self.slots, unit="shape") as advance:
            while self._ahead < self.slots and time.monotonic() < end:
                parts[self._ahead] = self._read(self._part_in(self._ahead))
                self._ahead += 1
                advance()
        return parts

    def _resident(self, slot: int) -> Any:
        """Return the part in a slot, read now if it was not read yet; a part is the same whenever it is read."""
        if self._parts[slot] is None:
            future = self._arriving.pop(slot, None)
            self._parts[slot] = self._read(self._part_in(slot)) if future is None else future.result()
        return self._parts[slot]

    def _read_further(self) -> None:
        """Keep some parts that were not read at the start on their way."""
        for slot in [slot for slot, future in self._arriving.items() if future.done()]:
            self._resident(slot)
        while self._ahead < self.slots and len(self._arriving) < _READ_AHEAD:
            slot, self._ahead = self._ahead, self._ahead + 1
            if self._parts[slot] is None:
                self._arriving[slot] = self._reader.submit(self._read, self._part_in(slot))

    def _part_in(self, slot: int) -> int:
        """Number of the part that a slot holds."""
        return self._first_part + (slot - self._first_part) % self.slots

    def _row(self, part: int) -> int:
        """Row of the part's shape in the latent code table."""
        return int(self._order[part % len(self.keys)])

    def _read(self, part: int) -> Any:
        key, rng = self.keys[self._row(part)], self._generator(_PART_STREAM, part)
        return self._source.read(key, self.share, rng).to(self._device)

    def _generator(self, stream: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng((self._settings.seed, stream, *numbers))
