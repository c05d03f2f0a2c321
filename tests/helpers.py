"""Helpers that several test modules share: small settings, runs at their first step, paths, folder contents."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config, TrainConfig

if TYPE_CHECKING:
    from latentsdf.training.trainer import Trainer

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
REAL_DATA = REPOSITORY.parent / "shared" / "data"

SMALL_SAMPLING = SamplingConfig(
    resolution=64, band_voxels=3.0, sparse_resolution=32, near=4000, uniform=4000, surface=1000
)
SMALL_MODEL = ModelConfig(
    code_dim=8,
    general=BranchConfig(width=48, depth=3, frequencies=3),
    overfit=BranchConfig(width=32, depth=2, frequencies=0),
    grid=GridConfig(32, 8),
)


def small_config(**changes: float) -> Config:
    """A configuration that trains four shapes in seconds."""
    settings = {"steps": 800, "shapes_per_batch": 4, "points_per_shape": 1024, "log_every": 20, "memory_gb": 0.1}
    return Config(preset="small", model=SMALL_MODEL, train=TrainConfig(**(settings | changes)))  # type: ignore[arg-type]


def new_trainer(store: Path, config: Config, **changes: Any) -> "Trainer":
    """A run at its first step."""
    import torch

    from latentsdf.data.sample_pool import ShapeSamplePool
    from latentsdf.data.store import SampleStore
    from latentsdf.training.trainer import Trainer

    opened = SampleStore.open(store)
    return Trainer(
        ShapeSamplePool(opened, opened.keys(), config.train, config.loss), config, torch.device("cpu"), **changes
    )


def save_untrained(folder: Path, config: Config) -> None:
    """Write a space of two shapes as it is before the first step."""
    import torch

    from latentsdf.geometry.similarity import IDENTITY
    from latentsdf.models.latent_sdf import LatentSDF
    from latentsdf.training import checkpoint

    codes = torch.eye(2, config.model.code_dim)
    keys, ways = ["table/a", "table/b"], [IDENTITY, IDENTITY]
    checkpoint.save(folder, LatentSDF(config.model), codes, keys, ways, "sphere", config, None, steps=0)


def circle_points(count: int, radius: float = 0.8, seed: int = 0) -> np.ndarray:
    """Uniform random points (count, 2) on a circle about the origin."""
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi, count)
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def sphere_points(count: int, radius: float = 0.8, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Uniform random points (count, 3) on a sphere about the origin, with Gaussian noise of a standard deviation."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    return points + noise * rng.normal(size=(count, 3))


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
