"""Fixtures that several packages of tests share."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh
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
