"""Settings of inversion and refinement: ranges and combinations."""

from dataclasses import replace
from typing import Any

import pytest

from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"prior": float("nan")}, "prior must be a finite number"),
        ({"prior": -1.0}, "prior must be at least 0"),
        ({"partial": 1}, "partial: expected true or false"),
        ({"frame": "world"}, "frame: expected one of 'shape' or 'model'"),
        ({"step": 3}, "unknown key 'step'"),
    ],
)
def test_invalid_inversions(changes: dict[str, Any], message: str) -> None:
    """Values out of range or of another type and unknown names are rejected on construction."""
    with pytest.raises(ConfigError, match=message):
        InvertConfig(**changes)


def test_former_name_of_frame() -> None:
    """`user` is accepted for `shape`."""
    assert InvertConfig(frame="user") == InvertConfig(frame="shape")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"band_voxels": 0.0}, "band_voxels must be above 0"),
        ({"seconds": -1.0}, "seconds must be at least 0"),
        ({"lattice": 48, "budget_kb": 0.0}, "lattice must divide resolution, got 48 and 512"),
        ({"resolution": 255}, "resolution must be even, got 255"),
        ({"seconds": 5.0}, "seconds limits the refinement without a limit of size; also set budget_kb to 0"),
        ({"lr": 1e-3}, "unknown key 'lr'"),
    ],
)
def test_invalid_refinements(changes: dict[str, Any], message: str) -> None:
    """Invalid values and inconsistent settings are rejected on construction."""
    with pytest.raises(ConfigError, match=message):
        RefineConfig(**changes)


def test_replaced_settings() -> None:
    """`dataclasses.replace` checks the changed settings."""
    assert replace(RefineConfig(budget_kb=0), resolution=256, lattice=64).lattice == 64
    with pytest.raises(ConfigError, match="must divide"):
        replace(RefineConfig(budget_kb=0), resolution=100)
