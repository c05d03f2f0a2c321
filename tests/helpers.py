"""Helpers that several test modules share: small settings, runs at their first step, paths, folder contents."""

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.config.loader import to_yaml
from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.reconstruction import ReconstructConfig
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


def short_preset(method: str, dim: int = 2, steps: int = 120) -> ReconstructConfig:
    """Preset of a reconstruction method with a small network and batch, which trains in seconds."""
    from latentsdf.reconstruction.presets import preset

    config = preset(method, dim)
    model = replace(config.model, width=32, depth=3, resolutions=(4, 8, 16, 32))
    return with_train(replace(config, model=model), steps=steps, surface_points=256, offsurface_points=256)


def with_train(config: ReconstructConfig, **changes: Any) -> ReconstructConfig:
    """Replace settings of the section `train`."""
    return replace(config, train=replace(config.train, **changes))


def write_disk_truth(path: Path, radius: float = 0.5) -> Path:
    """Write exact distances of a disk around (0.3, 0) as `latentsdf.reconstruction.planar.load_truth` reads them."""
    axis = np.linspace(-1.2, 1.2, 128)
    grid = np.hypot(axis[None, :] - 0.3, axis[:, None]) - radius  # indexed [y, x]
    np.savez(path, sdf_grid=grid, grid_axis=axis, surface_points=circle_points(2000, radius) + np.array([0.3, 0.0]))
    return path


def oriented_sphere_points(radius: float, count: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random points (count, 3) on a sphere around the origin, and their unit normals (count, 3)."""
    normals = np.random.default_rng(round(1000 * radius)).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def flip_byte(path: Path, offset: int = 100) -> None:
    """Invert one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(bytes(content))


def train_command(store: Path, out: Path, config: Config, *more: str) -> list[str]:
    """Return the command that trains a configuration on the CPU; writes the configuration beside `out`."""
    path = out.with_suffix(".yaml")
    path.write_text(to_yaml(config))
    words = ["train", "--data", str(store), "--out", str(out), "--config", str(path), "--device", "cpu", *more]
    return [sys.executable, "-m", "latentsdf", *words]


def subprocess_environment(**more: str) -> dict[str, str]:
    """Return the environment in which a subprocess imports this checkout."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more
