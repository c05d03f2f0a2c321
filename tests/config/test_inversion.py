"""Settings of inversion and refinement: ranges and combinations."""

from dataclasses import replace
from typing import Any

import pytest

from latentsdf.config.inversion import (
    ADAM_RECIPES,
    AdamConfig,
    AdamRecipe,
    InvertConfig,
    RefineConfig,
    adam_recipe,
    adam_recipe_name,
)
from latentsdf.config.loader import find_preset, load
from latentsdf.config.training import Config
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


def test_published_inversions() -> None:
    """The numbers are those of the releases."""
    deepsdf, compact, igr = (ADAM_RECIPES[name] for name in ("deepsdf", "compact_sdf", "igr"))
    assert (deepsdf.steps, deepsdf.lr, deepsdf.lr_drop, deepsdf.points, deepsdf.draw) == (800, 5e-3, 0.1, 8000, "signs")
    assert (deepsdf.clamp, deepsdf.prior, deepsdf.prior_norm, deepsdf.start_std) == (0.1, 1e-4, "squared", 0.01)
    assert (compact.steps, compact.lr, compact.lr_drop, compact.points) == (2000, 5e-3, 0.1, 4000)
    assert (compact.clamp, compact.prior, compact.draw, compact.start_std) == (0.0, 1e-4, "near", 0.01)
    assert (igr.loss, igr.steps, igr.lr, igr.lr_drop, igr.points) == ("points", 800, 5e-3, 0.1, 16_384)
    assert (igr.normals, igr.eikonal, igr.prior, igr.prior_norm, igr.box) == (1.0, 0.1, 1e-3, "absolute", 1.8)
    assert igr.start_std == 0.0  # 1 / L


@pytest.mark.parametrize(
    ("preset", "recipe", "overfit", "normals"),
    [
        ("deepsdf", "deepsdf", "band", 1.0),
        ("deepsdf_cpu", "deepsdf", "band", 1.0),
        ("compact_sdf", "compact_sdf", "all", 1.0),
        ("igr", "igr", "band", 1.0),
        ("latentsdf_cpu", "compact_sdf", "band", 1.0),
    ],
)
def test_inversions_of_presets(preset: str, recipe: AdamRecipe, overfit: str, normals: float) -> None:
    """A space is inverted as the publication of its preset, or of the most similar one, does."""
    training = load(Config, find_preset(preset))
    found = InvertConfig(method="adam").for_space(training).adam
    assert found == adam_recipe(training) == replace(ADAM_RECIPES[recipe], overfit=overfit, normals=normals)
    assert adam_recipe_name(training) == recipe
    chosen = InvertConfig(method="adam", recipe="deepsdf").for_space(training)
    assert chosen.adam is not None and chosen.adam.steps == 800 and chosen.recipe is None


def test_inversion_of_a_space_without_normals() -> None:
    """A space of points that was trained without normals is inverted without them."""
    training = load(Config, find_preset("igr"))
    without = replace(training, loss=replace(training.loss, normals=0.0))
    assert adam_recipe(without).normals == 0.0 and adam_recipe(training).normals == 1.0
    assert adam_recipe_name(replace(without, preset="mine")) == "igr"
    assert adam_recipe_name(replace(load(Config, find_preset("deepsdf")), preset="mine")) == "deepsdf"


def test_settings_for_a_space() -> None:
    """Settings of the other method, and settings of Adam that are given, are not changed."""
    for config in (InvertConfig(steps=3), InvertConfig(method="adam", adam=AdamConfig(steps=7))):
        assert config.for_space(Config()) == config
