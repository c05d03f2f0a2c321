"""Logs of a training run: `metrics.jsonl`, optional TensorBoard events, and optional images of reconstructions."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.config.training import TrainConfig
from latentsdf.extraction.extract import extract
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import contact_sheet
from latentsdf.training import checkpoint
from latentsdf.training.trainer import Trainer
from latentsdf.utils.atomic_files import atomic_write, full_disk_named
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.errors import EmptyLevelSetError, MissingExtraError
from latentsdf.utils.output_folders import require_no_links

IMAGE_SHAPES = 4
"""Number of shapes in an image."""

IMAGE_RESOLUTION = 64
"""Cells per axis of the extraction for an image."""

IMAGE_SIZE = 192
"""Width and height of one rendering in pixels."""


class TrainingLogger:
    """Writes the metrics and images of one run; created by `open_training_logger`."""

    def __init__(self, folder: Path, config: TrainConfig, lines: Any, events: Any) -> None:
        self._folder, self._config, self._lines, self._events = folder, config, lines, events
        self._last_image = time.monotonic()

    def log(self, metrics: dict[str, float]) -> None:
        """Write metrics to `metrics.jsonl` and, if enabled, to TensorBoard.

        Args:
            metrics: Values by name, including `step`.
        """
        self._lines.write(json.dumps(metrics) + "\n")
        self._lines.flush()
        if self._events is not None:
            for name in metrics.keys() - {"step"}:
                self._events.add_scalar(name, metrics[name], int(metrics["step"]))

    def save_image_if_due(self, trainer: Trainer) -> None:
        """Save an image of reconstructions if `train.image_minutes` have passed since the last one."""
        minutes = self._config.image_minutes
        if minutes == 0 or time.monotonic() - self._last_image < 60 * minutes:
            return
        sheet = reconstructions(trainer)
        path = require_no_links(self._folder, "pictures") / f"{trainer.step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as temporary:
            sheet.save(temporary, format="PNG")
        if self._events is not None:
            self._events.add_image("reconstructions", np.asarray(sheet), trainer.step, dataformats="HWC")
        self._last_image = time.monotonic()


@contextmanager
def open_training_logger(folder: Path, config: TrainConfig, step: int) -> Iterator[TrainingLogger]:
    """Open the logger of a run.

    Args:
        folder: Checkpoint folder.
        config: Training settings.
        step: Number of completed steps. Logged lines of later steps are removed, because a resumed run repeats them.

    Yields:
        The logger.

    Raises:
        MissingExtraError: `train.tensorboard` is set, and TensorBoard is not installed.
    """
    kept = [line for line in checkpoint.read_metrics(folder) if line["step"] <= step] if step else []
    path = folder / "metrics.jsonl"
    # The file is replaced, not written to, so that a link is not followed.
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
    events = _tensorboard(require_no_links(folder, "tensorboard"), step) if config.tensorboard else None
    with full_disk_named(path), path.open("a") as lines:
        try:
            yield TrainingLogger(folder, config, lines, events)
        finally:
            if events is not None:
                events.close()


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "train.tensorboard needs TensorBoard; install it: pip install 'latentsdf[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=step)


def reconstructions(trainer: Trainer) -> Image.Image:
    """Render the first shapes of a run: general branch in the first row, fused field in the second."""
    count = min(IMAGE_SHAPES, len(trainer.keys))
    trains = trainer.model.training
    trainer.model.eval()
    try:
        rows = [[_image(trainer, row, mode) for row in range(count)] for mode in ("general", "fused")]
    finally:
        trainer.model.train(trains)
    return contact_sheet(rows, captions=[[""] * count, trainer.keys[:count]])


def _image(trainer: Trainer, row: int, mode: Any) -> Image.Image:
    code = trainer.codes().detach()[row : row + 1]

    def distance(branch: Branch, points: Tensor) -> Tensor:
        with torch.no_grad():
            return map_chunks(lambda chunk: trainer.model.branch(branch, chunk[None], code)[0], points)

    branches = (partial(distance, "general"), partial(distance, "overfit"))
    width = trainer.config.model.band_voxels
    try:
        mesh = extract(*branches, resolution=IMAGE_RESOLUTION, mode=mode, band_voxels=width, device=trainer.device)
    except EmptyLevelSetError:
        return Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), "white")
    return render_mesh(mesh, size=IMAGE_SIZE)
