"""The shapes a run draws from, resident in bounded memory whatever their number.

What fits in memory is read once. Otherwise the pool holds parts, a random share of a shape's samples each, and every
few steps the oldest part gives way to the next one, which a background thread has read meanwhile. Parts come in one
fixed cyclic order of the shapes, so no two resident parts are of the same shape.

All samples live on the run's GPU where they fit in half of its free memory, otherwise in the system's. Everything
follows from the seed and the step: part n is of shape `order[n % N]` with the share drawn by generator
(seed, n), and the batch of a step by generators (seed, step, shape). A resumed run sees what it would have seen.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.point_batches import PointBatch, PointSource
from latentsdf.data.sdf_batches import Batch, SdfSource
from latentsdf.data.store import SampleStore
from latentsdf.utils.console import track
from latentsdf.utils.devices import free_gpu_memory
from latentsdf.utils.errors import StoreError

_PART_BYTES = 3 << 20
"""A part is at least of this size where the whole shape is larger, so that reading it is worth the while."""

_AHEAD = 4
"""Parts read in advance."""

_PARTS, _SHAPES, _POINTS = range(3)
"""Which random numbers a generator is for."""


class Source(Protocol):
    """What the pool asks of samples of one kind. A part is what a source reads: it has `nbytes`, and moves by `to`."""

    def nbytes(self, key: str) -> int:
        """Memory that all samples of a shape take; StoreError where there are none."""

    def read(self, key: str, share: float, rng: np.random.Generator) -> Any:
        """A random share in (0, 1] of a shape's samples."""

    def draw(self, shapes: Sequence[Any], rows: Sequence[int], generators: Sequence[np.random.Generator]) -> Any:
        """A batch of these parts, of which `rows` are the codes, each drawn by its own generator."""


class ShapeSamplePool:
    """Batches of a store's shapes; `rank` of `world` processes gets its share of every batch."""

    def __init__(
        self,
        store: SampleStore,
        keys: Sequence[str],
        train: TrainConfig,
        loss: LossConfig,
        *,
        device: torch.device | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if len(keys) < world:
            raise StoreError(
                f"{store.path}: {len(keys)} shapes to train on for {world} processes; run latentsdf-preprocess first, "
                "or fewer processes"
            )
        self.store, self.keys, self._settings = store, list(keys), train
        self._rank, self._world = rank, world
        kind = PointSource if train.samples == "points" else SdfSource
        self._source: Source = kind(store, train, loss)
        sizes = [self._source.nbytes(key) for key in keys]
        budget = train.memory_gb * 1e9
        whole = sum(sizes)
        on_device = device is not None and whole <= free_gpu_memory(device) / 2
        self._device = device if device is not None and on_device else torch.device("cpu")
        if whole <= budget or on_device:
            self.share, self.slots, self.nbytes = 1.0, len(keys), whole
            self._order = np.arange(len(keys))
        else:
            mean = whole / len(keys)
            self.share = min(1.0, max(budget / whole, _PART_BYTES / mean))
            fitting = int(budget / (self.share * mean))
            self.slots = min(len(keys), max(fitting, world * train.shapes_per_batch))
            self.nbytes = int(self.slots * self.share * mean)
            self._order = np.random.default_rng(train.seed).permutation(len(keys))
        self.batch_shapes = min(train.shapes_per_batch, self.slots // world)
        """Shapes of a batch, in each process."""
        self._parts: list[Any] = []
        self._turn = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._ahead: dict[int, Future[Any]] = {}

    @property
    def streams(self) -> bool:
        """Are there samples that are not resident?"""
        return self.share < 1 or self.slots < len(self.keys)

    def epoch(self, step: int) -> float:
        """Passes over as many shapes as there are."""
        return step * self.batch_shapes * self._world / len(self.keys)

    def batch(self, step: int) -> Batch | PointBatch:
        """This process's part of the batch of a step; the shapes in it are distinct, in all processes together."""
        self.fill(step)
        slots = self._slots_of(step)[self._rank * self.batch_shapes :][: self.batch_shapes]
        rows = [self._row(self._part_in(slot)) for slot in slots]
        generators = [self._generator(_POINTS, step, row) for row in rows]
        batch: Batch | PointBatch = self._source.draw([self._parts[slot] for slot in slots], rows, generators)
        return batch

    def fill(self, step: int) -> None:
        """Read what has to be resident at a step; `batch` does it too, but a clock may want to start after it."""
        self._turn_to(step // self._settings.refresh_steps if self.streams else 0)

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(cancel_futures=True)

    def _slots_of(self, step: int) -> NDArray[np.int64]:
        """Slots of the batch of all processes: every slot once a pass, in random order."""
        together = self.batch_shapes * self._world
        lap, place = divmod(step, self.slots // together)
        return self._generator(_SHAPES, lap).permutation(self.slots)[place * together :][:together]

    def _turn_to(self, turn: int) -> None:
        """Make parts `turn` to `turn + slots` the resident ones."""
        if not self._parts or not self._turn <= turn <= self._turn + self.slots:
            self._turn = turn
            self._parts = self._read_all()
        while self._turn < turn:
            part = self._turn + self.slots
            future = self._ahead.pop(part, None) or self._reader.submit(self._read, part)
            self._parts[part % self.slots] = future.result()
            self._turn += 1
        if self.streams:
            for part in range(turn + self.slots, turn + self.slots + _AHEAD):
                if part not in self._ahead:
                    self._ahead[part] = self._reader.submit(self._read, part)

    def _read_all(self) -> list[Any]:
        resident = [self._part_in(slot) for slot in range(self.slots)]
        parts = []
        with track("reading samples", total=self.slots, unit="shape") as advance:
            for part in resident:
                parts.append(self._read(part))
                advance()
        return parts

    def _part_in(self, slot: int) -> int:
        """Number of the part that is resident in a slot."""
        return self._turn + (slot - self._turn) % self.slots

    def _row(self, part: int) -> int:
        return int(self._order[part % len(self.keys)])

    def _read(self, part: int) -> Any:
        key, rng = self.keys[self._row(part)], self._generator(_PARTS, part)
        return self._source.read(key, self.share, rng).to(self._device)

    def _generator(self, purpose: int, *numbers: int) -> np.random.Generator:
        return np.random.default_rng((self._settings.seed, purpose, *numbers))
