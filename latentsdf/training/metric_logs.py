"""Logs of a training run besides `metrics.jsonl`, by name: CSV, TensorBoard, Trackio, Weights & Biases.

Trackio and Weights & Biases have the same functions `init`, `log` and `finish`. The run has the name of the checkpoint
folder; environment variables of these packages select the project (`WANDB_PROJECT`, `TRACKIO_PROJECT`) and the server.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from latentsdf.config.training import MetricLogName
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import MissingExtraError
from latentsdf.utils.output_folders import require_no_links

Metrics = Mapping[str, float]

PROJECT = "latentsdf"
"""Project of the runs of Trackio and Weights & Biases if their environment variables name none."""


@runtime_checkable
class MetricLog(Protocol):
    """A log of metrics and images."""

    def log(self, metrics: Metrics) -> None:
        """Write metrics by name, including `step`."""

    def log_image(self, name: str, image: Image.Image, step: int) -> None:
        """Write an image."""

    def close(self) -> None:
        """End the log; called once, also after an error."""


def open_log(name: MetricLogName, folder: Path, config: dict[str, Any], earlier: Sequence[Metrics]) -> MetricLog:
    """Open a log.

    Args:
        name: Kind of the log.
        folder: Checkpoint folder, for logs that are files, and for the name of the run.
        config: Configuration of the run, nested by section.
        earlier: Metrics that the run logged before it was interrupted; empty for a new run.

    Raises:
        MissingExtraError: The package of the log is not installed.
    """
    return _KINDS[name](folder, config, earlier)


class _CsvLog:
    """`metrics.csv`; a loss term that starts later adds a column, which is empty before."""

    def __init__(self, folder: Path, _: dict[str, Any], earlier: Sequence[Metrics]) -> None:
        self.path, self.rows = folder / "metrics.csv", [dict(row) for row in earlier]
        self.columns: list[str] = []
        self._add_columns({name for row in self.rows for name in row})
        self._rewrite()

    def log(self, metrics: Metrics) -> None:
        self.rows.append(dict(metrics))
        if metrics.keys() <= set(self.columns):
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(metrics)
        else:
            self._add_columns(metrics)
            self._rewrite()

    def log_image(self, name: str, image: Image.Image, step: int) -> None:
        """Images are files of their own."""

    def close(self) -> None:
        """Every line is already written."""

    def _add_columns(self, names: Any) -> None:
        first = [name for name in ("step", "seconds", "loss") if name in names]
        self.columns += [name for name in (*first, *sorted(set(names) - set(first))) if name not in self.columns]

    def _rewrite(self) -> None:
        with atomic_write(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


class _TensorBoardLog:
    """Event files in the folder `tensorboard`."""

    def __init__(self, folder: Path, _: dict[str, Any], earlier: Sequence[Metrics]) -> None:
        events = require_no_links(folder, "tensorboard")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "TensorBoard") from error
        step = int(earlier[-1]["step"]) + 1 if earlier else 0
        self.events = SummaryWriter(str(events), purge_step=step)

    def log(self, metrics: Metrics) -> None:
        for name in metrics.keys() - {"step"}:
            self.events.add_scalar(name, metrics[name], int(metrics["step"]))

    def log_image(self, name: str, image: Image.Image, step: int) -> None:
        self.events.add_image(name, np.asarray(image), step, dataformats="HWC")

    def close(self) -> None:
        self.events.close()


class _TrackerLog:
    """A run of Trackio or Weights & Biases."""

    def __init__(self, module: str, label: str, folder: Path, config: dict[str, Any], **options: Any) -> None:
        try:
            self.package = import_module(module)
        except ImportError as error:
            raise _missing(module, label) from error
        project = os.environ.get(f"{module.upper()}_PROJECT") or PROJECT
        self.package.init(project=project, name=folder.resolve().name, config=config, **options)

    def log(self, metrics: Metrics) -> None:
        self.package.log({name: metrics[name] for name in metrics.keys() - {"step"}}, step=int(metrics["step"]))

    def log_image(self, name: str, image: Image.Image, step: int) -> None:
        self.package.log({name: self.package.Image(image)}, step=step)

    def close(self) -> None:
        self.package.finish()


def _open_trackio(folder: Path, config: dict[str, Any], earlier: Sequence[Metrics]) -> MetricLog:
    return _TrackerLog("trackio", "Trackio", folder, config, resume="allow" if earlier else "never")


def _open_wandb(folder: Path, config: dict[str, Any], earlier: Sequence[Metrics]) -> MetricLog:
    # A resumed run is found again by its id.
    path = folder / "wandb_run_id.txt"
    if not earlier or not path.is_file():
        identifier = hashlib.sha256(os.urandom(16)).hexdigest()[:12]
        with atomic_write(path) as temporary:
            temporary.write_text(identifier)
    options = {"id": path.read_text().strip(), "resume": "allow", "dir": str(folder)}
    return _TrackerLog("wandb", "Weights & Biases", folder, config, **options)


def _missing(extra: str, label: str) -> MissingExtraError:
    return MissingExtraError(f"the log '{extra}' needs {label}; install it: pip install 'latentsdf[{extra}]'")


_KINDS: dict[str, Callable[[Path, dict[str, Any], Sequence[Metrics]], MetricLog]] = {
    "csv": _CsvLog,
    "tensorboard": _TensorBoardLog,
    "trackio": _open_trackio,
    "wandb": _open_wandb,
}
