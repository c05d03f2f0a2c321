"""Fixtures shared by several test packages."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import jaxtyping
import numpy as np
import pytest
import trimesh
from helpers.paths import REAL_DATA
from helpers.settings import SMALL_SAMPLING, small_config


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of third-party meshes beside the checkout; skips the test if it is missing."""
    if not (REAL_DATA / "meshes").is_dir():
        pytest.skip("third-party meshes are missing: there is no folder shared/data/meshes beside the checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample store of four tables."""
    from preprocessing.job import run
    from preprocessing.sources import procedural

    path = tmp_path_factory.mktemp("data") / "tables.zarr"
    report = run(procedural(["table"], count=4), path, SMALL_SAMPLING, workers=2)
    assert not report.failed
    return path


@pytest.fixture(scope="session")
def space_path(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Space trained on the four tables."""
    from latentsdf.training.train import train

    path = tmp_path_factory.mktemp("spaces") / "tables"
    train(store_path, path, small_config())
    return path


@pytest.fixture
def registrations(tmp_path: Path) -> Path:
    """D-FAUST file with two sequences of a growing box, of 25 and 3 frames."""
    box = trimesh.creation.box((1, 2, 3))
    path = tmp_path / "registrations_f.hdf5"
    with h5py.File(path, "w") as file:
        file["faces"] = box.faces.astype(np.uint32)
        for name, count in {"50002_jumping_jacks": 25, "50004_punching": 3}.items():
            file[name] = box.vertices[:, :, None] * (1 + np.arange(count)) + 5
    return path


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """Switch off the shape checks of jaxtyping, for tests that pass invalid arguments on purpose."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
