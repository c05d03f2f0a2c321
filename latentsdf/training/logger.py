"""Logs of a training run: `metrics.jsonl`, optional logs of other kinds, and optional images of reconstructions."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

import torch
from PIL import Image
from torch import Tensor

from latentsdf.config.loader import to_dict
from latentsdf.config.model import Branch
from latentsdf.config.training import Config, MetricLogName, TrainConfig
from latentsdf.extraction.extract import extract
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import contact_sheet
from latentsdf.training import checkpoint
from latentsdf.training.metric_logs import MetricLog, open_log
from latentsdf.training.trainer import Trainer
from latentsdf.utils.atomic_files import atomic_write, full_disk_named
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import EmptyLevelSetError
from latentsdf.utils.output_folders import require_no_links

IMAGE_SHAPES = 4
"""Number of shapes in an image."""

IMAGE_RESOLUTION = 64
"""Cells per axis of the extraction for an image."""

IMAGE_SIZE = 192
"""Width and height of one rendering in pixels."""


class TrainingLogger:
    """Writes the metrics and images of one run; created by `open_training_logger`."""

    def __init__(self, folder: Path, config: TrainConfig, lines: TextIO, others: Sequence[MetricLog]) -> None:
        self._folder, self._config, self._lines, self._others = folder, config, lines, others
        self._last_image = time.monotonic()

    def log(self, metrics: dict[str, float]) -> None:
        """Write metrics to `metrics.jsonl` and to the other logs.

        Args:
            metrics: Values by name, including `step`.
        """
        self._lines.write(json.dumps(metrics) + "\n")
        self._lines.flush()
        for other in self._others:
            other.log(metrics)

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
        for other in self._others:
            other.log_image("reconstructions", sheet, trainer.step)
        self._last_image = time.monotonic()


@contextmanager
def open_training_logger(folder: Path, config: Config, step: int) -> Iterator[TrainingLogger]:
    """Open the logger of a run.

    Args:
        folder: Checkpoint folder.
        config: Configuration of the run.
        step: Number of completed steps. Logged lines of later steps are removed, because a resumed run repeats them.

    Yields:
        The logger.

    Raises:
        MissingExtraError: The package of a log is not installed.
    """
    path, lines = folder / "metrics.jsonl", checkpoint.read_metrics(folder) if step else []
    kept = [line for line in lines if line["step"] <= step]
    if lines and lines[-1]["step"] + config.train.log_every < step:
        show_note(
            "another run",
            f"{path}: ends at step {lines[-1]['step']:,.0f}, but the space in the folder has {step:,} steps; a run "
            "with --overwrite that is killed before its first checkpoint leaves its log beside the earlier space",
        )
    # The file is replaced, not written to, so that a link is not followed.
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
    settings = config.train
    names = {settings.log} - {"none"} | ({"tensorboard"} if settings.tensorboard else set())
    with full_disk_named(path), path.open("a") as file, ExitStack() as stack:
        others = []
        for name in sorted(names):
            others.append(open_log(cast(MetricLogName, name), folder, to_dict(config), kept))
            stack.callback(others[-1].close)
        yield TrainingLogger(folder, settings, file, others)


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
