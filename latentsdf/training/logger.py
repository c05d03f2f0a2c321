"""What a run leaves to look at: `metrics.jsonl` always, TensorBoard events and pictures where they are asked for."""

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
from latentsdf.utils.errors import EmptyLevelSetError, MissingExtraError

_SHAPES = 4
_RESOLUTION = 64
_SIZE = 192
_CHUNK = 65_536


class TrainingLogger:
    """The lines and pictures of one run; use `open_training_logger`."""

    def __init__(self, folder: Path, config: TrainConfig, lines: Any, events: Any) -> None:
        self._folder, self._config, self._lines, self._events = folder, config, lines, events
        self._last_picture = time.monotonic()

    def note(self, metrics: dict[str, float]) -> None:
        """Write one line, which holds `step`."""
        self._lines.write(json.dumps(metrics) + "\n")
        self._lines.flush()
        if self._events is not None:
            for name in metrics.keys() - {"step"}:
                self._events.add_scalar(name, metrics[name], int(metrics["step"]))

    def picture(self, run: Trainer) -> None:
        """Reconstructions of the first shapes, when it is time for the next picture."""
        minutes = self._config.picture_minutes
        if minutes == 0 or time.monotonic() - self._last_picture < 60 * minutes:
            return
        sheet = reconstructions(run)
        path = self._folder / "pictures" / f"{run.step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        sheet.save(path)
        if self._events is not None:
            self._events.add_image("reconstructions", np.asarray(sheet), run.step, dataformats="HWC")
        self._last_picture = time.monotonic()


@contextmanager
def open_training_logger(folder: Path, config: TrainConfig, step: int) -> Iterator[TrainingLogger]:
    """The logger of a run that stands at `step`; what was written after that step goes, as it will be written again.

    Raises MissingExtraError when `tensorboard` is set and not installed.
    """
    kept = [line for line in checkpoint.read_metrics(folder) if line["step"] <= step] if step else []
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    events = _tensorboard(folder / "tensorboard", step) if config.tensorboard else None
    with path.open("a") as lines:
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


def reconstructions(run: Trainer) -> Image.Image:
    """The first shapes of a run, general branch above, fused below; coarse and small, for seconds a picture."""
    count = min(_SHAPES, len(run.keys))
    trains = run.model.training
    run.model.eval()
    try:
        rows = [[_picture(run, row, mode) for row in range(count)] for mode in ("general", "fused")]
    finally:
        run.model.train(trains)
    return contact_sheet(rows, captions=[[""] * count, run.keys[:count]])


def _picture(run: Trainer, row: int, mode: Any) -> Image.Image:
    code = run.codes.table.detach()[row : row + 1]

    def distance(branch: Branch, points: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([run.model.branch(branch, some[None], code)[0] for some in points.split(_CHUNK)])

    branches = (partial(distance, "general"), partial(distance, "overfit"))
    width = run.config.model.band_voxels
    try:
        mesh = extract(*branches, resolution=_RESOLUTION, mode=mode, band_voxels=width, device=run.device)
    except EmptyLevelSetError:
        return Image.new("RGB", (_SIZE, _SIZE), "white")
    return render_mesh(mesh, size=_SIZE)
