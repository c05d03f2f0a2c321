"""Shared fixtures: a small trained space, and the real meshes where they are at hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config, TrainConfig

if TYPE_CHECKING:
    from latentsdf.training.trainer import Run

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

SMALL_SAMPLING = SamplingConfig(
    resolution=64, band_voxels=3, sparse_resolution=32, near=4000, uniform=4000, surface=1000
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


def new_run(store: Path, config: Config, **changes: Any) -> "Run":
    """A run at its first step."""
    import torch

    from latentsdf.data.sample_pool import Pool
    from latentsdf.data.store import SampleStore
    from latentsdf.training.trainer import Run

    opened = SampleStore.open(store)
    return Run(Pool(opened, opened.keys(), config.train, config.loss), config, torch.device("cpu"), **changes)


def save_untrained(folder: Path, config: Config) -> None:
    """Write a space of two shapes as it is before the first step."""
    import torch

    from latentsdf.geometry.mesh import IDENTITY
    from latentsdf.models.latent_sdf import LatentSDF
    from latentsdf.training import checkpoint

    codes = torch.eye(2, config.model.code_dim)
    keys, ways = ["table/a", "table/b"], [IDENTITY, IDENTITY]
    checkpoint.save(folder, LatentSDF(config.model), codes, keys, ways, "sphere", config, None, steps=0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of third-party meshes beside the checkout; tests that need it skip without it."""
    if not (REAL_DATA / "meshes").is_dir():
        pytest.skip("third-party meshes are not at hand: no shared/data/meshes beside the checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four tables."""
    from preprocessing.job import run
    from preprocessing.sources import procedural

    path = tmp_path_factory.mktemp("data") / "tables.zarr"
    report = run(procedural(["table"], count=4), path, SMALL_SAMPLING, workers=2)
    assert not report.failed
    return path


@pytest.fixture(scope="session")
def space_path(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space trained on the four tables."""
    from latentsdf.training.train import train

    path = tmp_path_factory.mktemp("spaces") / "tables"
    train(store_path, path, small_config())
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
