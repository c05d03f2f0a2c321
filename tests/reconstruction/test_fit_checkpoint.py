"""Checkpoint of an unfinished fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.points import circle_points
from helpers.settings import short_preset, with_train

from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit_checkpoint import FitCheckpoint
from latentsdf.utils.errors import CheckpointError


def test_round_trip(tmp_path: Path) -> None:
    """A state is read back for the same cloud and settings, with any budget; there is none before the first save."""
    cloud, config = prepare_point_cloud(circle_points(200, 1.0)), short_preset("hotspot")
    checkpoint = FitCheckpoint(tmp_path / "state.pt", cloud, config)
    assert checkpoint.load() is None
    checkpoint.save({"step": 3, "weights": torch.arange(4.0)})
    longer = FitCheckpoint(tmp_path / "state.pt", cloud, with_train(config, steps=10**6, minutes=5.0, patience=3))
    state = longer.load()
    assert state is not None and state["step"] == 3 and torch.equal(state["weights"], torch.arange(4.0))


def test_refused_states(tmp_path: Path) -> None:
    """Other points, other settings, other versions and damaged files are refused."""
    path, config = tmp_path / "state.pt", short_preset("hotspot")
    cloud, other = prepare_point_cloud(circle_points(200, 1.0)), prepare_point_cloud(circle_points(201, 1.0))
    FitCheckpoint(path, cloud, config).save({"step": 3})
    for checkpoint in (
        FitCheckpoint(path, other, config),
        FitCheckpoint(path, cloud, with_train(config, seed=1)),
        FitCheckpoint(path, cloud, replace(config, extent=2.0)),
    ):
        with pytest.raises(CheckpointError, match="an unfinished run with other points or other settings"):
            checkpoint.load()
    checkpoint = FitCheckpoint(path, cloud, config)
    torch.save({"of": "0", "step": 3}, path)  # as version 0.1 wrote it
    with pytest.raises(CheckpointError, match="expected an unfinished run in format"):
        checkpoint.load()
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load()
