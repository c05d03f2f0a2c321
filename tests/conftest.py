"""Fixtures that several packages of tests share."""

from pathlib import Path

import pytest
from helpers import REAL_DATA, SMALL_SAMPLING, small_config


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
