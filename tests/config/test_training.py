"""Ranges and cross-field rules of the training configuration."""

import math
from dataclasses import asdict, fields, replace

import pytest

from latentsdf.config import loader
from latentsdf.config.model import BranchConfig
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.utils.errors import ConfigError

WEIGHTS = [f"loss.{field.name}" for field in fields(LossConfig) if isinstance(field.default, tuple)]
RATES = [f"train.{field.name}" for field in fields(TrainConfig) if field.name.startswith("lr_")]


def _with(name: str, value: object) -> Config:
    return loader.from_dict(Config, loader.merge(asdict(Config()), {name: value}), "a.yaml")


@pytest.mark.parametrize("name", [*WEIGHTS, *RATES, "train.code_std", "train.minutes", "train.free_share"])
def test_negative_and_nonfinite_numbers(name: str) -> None:
    """Weights, rates, deviations and budgets are finite and not negative."""
    low = "above 0" if name == "loss.heat_lambda" else "at least 0"
    for value, expected in ((-0.1, low), (math.nan, "a finite number"), (math.inf, "a finite number")):
        with pytest.raises(ConfigError, match=rf"^a\.yaml: {name} must be {expected}, got {value}$"):
            _with(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train.steps", 0, "train.steps must be at least 1, got 0"),
        ("train.seed", -1, "train.seed must be at least 0, got -1"),
        ("train.lr_final", 1.5, "train.lr_final must be at most 1, got 1.5"),
        ("train.beta2", 1.0, "train.beta2 must be below 1"),
        ("train.memory_gb", 0.0, "train.memory_gb must be above 0, got 0.0"),
        ("train.points_per_shape", 1, "train.points_per_shape must be at least 2, got 1"),
        ("loss.heat_lambda", 0.0, "loss.heat_lambda must be above 0, got 0.0"),
        ("loss.regularizer_points", 0, "loss.regularizer_points must be at least 1, got 0"),
        ("model.band_voxels", 0.0, "model.band_voxels must be above 0, got 0.0"),
        ("model.general.width", 0, "model.general.width must be at least 1, got 0"),
        ("model.overfit.depth", 0, "model.overfit.depth must be at least 1, got 0"),
        ("model.overfit.skip", 4, "model.overfit.skip must be 0 or a hidden layer after the first, 2 to 3, got 4"),
    ],
)
def test_numbers_out_of_range(name: str, value: float, message: str) -> None:
    """The message has the dotted name, the bound and the value."""
    with pytest.raises(ConfigError, match=message):
        _with(name, value)


def test_bounds_of_closed_ranges() -> None:
    """0 and 1 belong to the ranges of weights, rates and shares."""
    for name, value in (
        ("loss.general", 0.0),
        ("train.lr_grid", 0.0),
        ("train.lr_final", 1.0),
        ("train.lr_final", 0.0),
    ):
        _with(name, value)


def test_schedules_as_weights() -> None:
    """Every loss weight may be a number or a schedule over the run."""
    for name in WEIGHTS:
        field = name.removeprefix("loss.")
        assert getattr(LossConfig(**{field: [1, 0.5, 2, 3]}), field) == (1.0, 0.5, 2.0, 3.0)
        assert getattr(LossConfig(**{field: 2}), field) == (2.0,)
    with pytest.raises(
        ConfigError, match=r"loss\.code: a schedule is \(value, time, .* non-decreasing times in \[0, 1\]"
    ):
        _with("loss.code", [1, 0.5, 2, 0.4, 2, 3])


def test_requirements_of_training_on_surface_points() -> None:
    """Training from points refuses an overfit branch and a missing eikonal term."""
    points = replace(TrainConfig(), samples="points")
    model = replace(Config().model, overfit=BranchConfig(width=0))
    Config(model=model, loss=LossConfig(eikonal=(0.0, 0.1)), train=points)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"set model\.overfit\.width to 0"):
        Config(loss=LossConfig(eikonal=0.1), train=points)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"needs loss\.eikonal above 0; .* zero everywhere"):
        Config(model=model, train=points)
    with pytest.raises(ConfigError, match=r"loss\.normals needs .* train\.samples: points"):
        Config(loss=LossConfig(normals=1.0))  # type: ignore[arg-type]


def test_losses_of_users() -> None:
    """Weights of further losses are schedules by name, survive YAML, and cannot be named like settings or metrics."""
    config = Config(loss=LossConfig(extra={"mine": 0.1, "other": (0.0, 0.5, 1.0, 0.2)}))
    assert config.loss.extra == {"mine": (0.1,), "other": (0.0, 0.5, 1.0, 0.2)}
    values = loader.to_dict(config)
    assert values["loss"]["extra"] == {"mine": 0.1, "other": [0.0, 0.5, 1.0, 0.2]}
    assert loader.from_dict(Config, values, "a.yaml") == config
    assert _with("loss.extra", {"mine": "1e-3"}).loss.extra == {"mine": (1e-3,)}
    for extra, message in (
        ({"eikonal": 0.1}, "loss.extra: 'eikonal' cannot name a loss"),
        ({"step": 0.1}, "loss.extra: 'step' cannot name a loss"),
        ({"mine": -0.1}, "loss.extra.mine must be at least 0, got -0.1"),
        (0.1, "loss.extra: expected names and weights"),
    ):
        with pytest.raises(ConfigError, match=message):
            _with("loss.extra", extra)


def test_samplers_and_other_samples() -> None:
    """A sampler chooses signed samples of a store, so it excludes surface points and a source."""
    surface = {"train.samples": "points", "loss.eikonal": 0.1, "model.overfit.width": 0}
    values = loader.merge(asdict(Config()), {"train.sampler": "mine"})
    assert loader.from_dict(Config, values, "a.yaml").train.sampler == "mine"
    for changes in (surface, {"train.source": "live"}):
        with pytest.raises(ConfigError, match="train.sampler draws from the signed samples of a store; remove it"):
            loader.from_dict(Config, loader.merge(values, changes), "a.yaml")


def test_kl_prior_of_split_batch() -> None:
    """The KL prior is a statistic of a whole batch and cannot be computed in parts."""
    values = {"loss": {"code_prior": "kl", "code": 1e-4}, "train": {"batch_split": 2}}
    with pytest.raises(ConfigError, match="statistic of the codes of a whole batch; set train.batch_split to 1"):
        loader.from_dict(Config, values, "a.yaml")
