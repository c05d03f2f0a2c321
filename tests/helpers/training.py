"""Trainers and checkpoints at step 0, and the command that trains in a subprocess."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.paths import REPOSITORY
from latentsdf.config.loader import to_yaml
from latentsdf.config.training import Config

if TYPE_CHECKING:
    from latentsdf.training.trainer import Trainer


def new_trainer(store: Path, config: Config, **changes: Any) -> "Trainer":
    """Create a trainer at step 0."""
    import torch

    from latentsdf.data.sample_pool import ShapeSamplePool
    from latentsdf.data.store import SampleStore
    from latentsdf.training.trainer import Trainer

    opened = SampleStore.open(store)
    return Trainer(
        ShapeSamplePool(opened, opened.keys(), config.train, config.loss), config, torch.device("cpu"), **changes
    )


def save_untrained(folder: Path, config: Config) -> None:
    """Write the untrained space of a configuration with two shapes."""
    import torch

    from latentsdf.geometry.similarity import IDENTITY
    from latentsdf.models.latent_sdf import LatentSDF
    from latentsdf.training import checkpoint

    codes = torch.eye(2, config.model.code_dim)
    keys, similarities = ["table/a", "table/b"], [IDENTITY, IDENTITY]
    checkpoint.save(folder, LatentSDF(config.model), codes, keys, similarities, "sphere", config, None, steps=0)


def train_command(store: Path, out: Path, config: Config, *more: str) -> list[str]:
    """Write a configuration beside `out` and return the command that trains it on the CPU."""
    path = out.with_suffix(".yaml")
    path.write_text(to_yaml(config))
    words = ["train", "--data", str(store), "--out", str(out), "--config", str(path), "--device", "cpu", *more]
    return [sys.executable, "-m", "latentsdf", *words]


def subprocess_environment(**more: str) -> dict[str, str]:
    """Return the environment in which a subprocess imports this checkout."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more
