"""Logs by name: what each receives, for a new and for a resumed run, and missing packages."""

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.settings import small_config
from PIL import Image

import latentsdf as ls
from latentsdf.config.training import Config, MetricLogName, TrainConfig
from latentsdf.training.logger import open_training_logger
from latentsdf.training.train import train


class Tracker(ModuleType):
    """Stand-in of Trackio or Weights & Biases that records the calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def init(self, **options: Any) -> None:
        """Start a run."""
        self.calls.append(("init", options))

    def log(self, metrics: dict[str, Any], step: int) -> None:
        """Log metrics."""
        self.calls.append(("log", {"step": step} | metrics))

    def finish(self) -> None:
        """End the run."""
        self.calls.append(("finish", {}))

    @staticmethod
    def Image(image: Image.Image) -> tuple[int, int]:
        """Wrap an image."""
        return image.size


def _config(name: MetricLogName) -> Config:
    return Config(train=TrainConfig(log=name))


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_trackers(name: MetricLogName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has the name of the folder, the configuration and every line; it is ended, and resumed as the same run."""
    tracker = Tracker(name)
    monkeypatch.setitem(sys.modules, name, tracker)
    monkeypatch.delenv(f"{name.upper()}_PROJECT", raising=False)
    folder = tmp_path / "chairs"
    folder.mkdir()
    with pytest.raises(KeyError), open_training_logger(folder, _config(name), 0) as logger:
        logger.log({"step": 50, "seconds": 2.5, "loss": 0.5})
        logger._others[0].log_image("reconstructions", Image.new("RGB", (3, 2)), 50)
        raise KeyError
    (_, first), *rest = tracker.calls
    assert (first["project"], first["name"], first["config"]["train"]["log"]) == ("latentsdf", "chairs", name)
    assert rest == [
        ("log", {"step": 50, "seconds": 2.5, "loss": 0.5}),
        ("log", {"step": 50, "reconstructions": (3, 2)}),
        ("finish", {}),
    ]
    monkeypatch.setenv(f"{name.upper()}_PROJECT", "mine")
    with open_training_logger(folder, _config(name), 50):
        pass
    again = tracker.calls[-2][1]
    assert again["project"] == "mine" and again["resume"] == "allow" and again.get("id") == first.get("id")
    with open_training_logger(folder, _config(name), 0):
        pass
    new = tracker.calls[-2][1]
    assert new.get("id") != first["id"] if name == "wandb" else new["resume"] == "never"


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_missing_package(name: MetricLogName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error names the extra."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    logger = open_training_logger(tmp_path, _config(name), 0)
    with pytest.raises(ls.MissingExtraError, match=rf"pip install 'latentsdf\[{name}\]'"), logger:
        pass


def test_table(tmp_path: Path) -> None:
    """The CSV has a column per term, also for one that starts later, and a resumed run continues it."""
    with open_training_logger(tmp_path, _config("csv"), 0) as logger:
        logger.log({"step": 50, "seconds": 1.0, "loss": 0.5, "general": 0.5})
        logger.log({"step": 100, "seconds": 2.0, "loss": 0.4, "general": 0.3, "eikonal": 0.1})
        logger.log({"step": 150, "seconds": 3.0, "loss": 0.3, "eikonal": 0.3})
    with open_training_logger(tmp_path, _config("csv"), 100) as logger:
        logger.log({"step": 150, "seconds": 3.5, "loss": 0.2, "general": 0.2})
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["step", "seconds", "loss"] and sorted(rows[0][3:]) == ["eikonal", "general"]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [(row["step"], row["loss"]) for row in table] == [("50", "0.5"), ("100", "0.4"), ("150", "0.2")]
    assert [row["eikonal"] for row in table] == ["", "0.1", ""]


def test_training_with_table(store_path: Path, tmp_path: Path) -> None:
    """A run writes the log that its configuration names; a resumed run may have another one, or none."""
    small = small_config(steps=1)
    config = Config(model=small.model, loss=small.loss, train=ls.TrainConfig(steps=1, log_every=1, log="csv"))
    train(store_path, tmp_path, config, device="cpu")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].startswith("1,")
    without = Config(model=small.model, loss=small.loss, train=ls.TrainConfig(steps=2, log_every=1))
    train(store_path, tmp_path, without, resume=True, device="cpu")
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2
