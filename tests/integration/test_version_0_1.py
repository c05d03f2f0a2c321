"""Files and numbers of latentsdf 0.1, which wrote `tests/data_0_1`: a sample store, a space, and expected values.

`expected.npz` holds points (200, 3), the codes, s_g and s_o of the second shape at the points, its mesh of resolution
16 (`general` mode), and the loss terms of steps 1 to 5 of the run and 6 to 8 of its continuation.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import latentsdf as ls
from latentsdf.config.training import Config
from latentsdf.data.store import SampleStore
from latentsdf.training import checkpoint
from latentsdf.training.train import train

DATA = Path(__file__).parents[1] / "data_0_1"
RENAMED = {"divergence": "directional_divergence"}


@pytest.fixture(scope="module")
def expected() -> Mapping[str, Any]:
    """Arrays that latentsdf 0.1 computed."""
    return dict(np.load(DATA / "expected.npz"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy of the data that training may modify."""
    shutil.copytree(DATA, tmp_path / "data")
    return tmp_path / "data"


def _terms(space: Path, names: list[str]) -> np.ndarray:
    lines = [json.loads(line) for line in (space / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line.get(name, line.get(RENAMED.get(name))) for name in names] for line in lines])


def test_configuration_migration() -> None:
    """The configuration of the space loads with the current names."""
    config = checkpoint.load_config(DATA / "space")
    assert config.loss.directional_divergence == (1e-4,) and config.loss.regularizer_branch == "general"
    assert config.train.halve_epochs == 4 and config.loss.heat_lambda == (4.0, 0.2, 4.0, 30.0)


def test_unchanged_distances_and_mesh(expected: Mapping[str, Any]) -> None:
    """Both branches and the extracted mesh equal those of 0.1."""
    space = ls.load(DATA / "space", device="cpu")
    np.testing.assert_array_equal(space.codes.numpy(), expected["codes"])
    points, code = torch.from_numpy(expected["points"])[None], space.codes[1][None]
    with torch.no_grad():
        for branch in ("general", "overfit"):
            found = space.model.branch(branch, points, code)[0].numpy()
            np.testing.assert_allclose(found, expected[branch], atol=1e-6)
    mesh = space.extract(space.ids[1], resolution=16, mode="general")
    np.testing.assert_allclose(mesh.vertices, expected["vertices"], atol=1e-5)
    np.testing.assert_array_equal(mesh.faces, expected["faces"])


def test_unchanged_losses_of_new_run(expected: Mapping[str, Any], tmp_path: Path) -> None:
    """The same configuration, samples and seed give the loss terms of 0.1, up to the rounding of other CPUs."""
    config: Config = checkpoint.load_config(DATA / "space")
    train(DATA / "store", tmp_path / "space", config, device="cpu")
    names = expected["terms"].tolist()
    np.testing.assert_allclose(_terms(tmp_path / "space", names), expected["losses"], rtol=1e-6, atol=1e-9)


def test_unchanged_losses_of_resumed_run(expected: Mapping[str, Any], folder: Path) -> None:
    """A run started by 0.1 continues with the loss terms of 0.1."""
    config = checkpoint.load_config(folder / "space")
    config = replace(config, train=replace(config.train, steps=8))
    train(folder / "store", folder / "space", config, resume=True, device="cpu")
    found = _terms(folder / "space", expected["terms"].tolist())
    np.testing.assert_allclose(found[5:], expected["resumed"], rtol=1e-6, atol=1e-9)


def test_readable_sample_store() -> None:
    """The samples of 0.1 pass their checks."""
    store = SampleStore.open(DATA / "store")
    assert len(store) == 2
    for key in store:
        store.verify(key)
