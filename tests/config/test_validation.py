"""Numbers out of their range: refused by name before anything is trained."""

import math
from dataclasses import asdict, dataclass, fields

import pytest

from latentsdf.config import loader
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.config.validation import require_in_range
from latentsdf.training.train import require_valid
from latentsdf.utils.errors import ConfigError

WEIGHTS = [f"loss.{field.name}" for field in fields(LossConfig) if field.type is float]
RATES = [f"train.{field.name}" for field in fields(TrainConfig) if field.name.startswith("lr_")]


def _with(name: str, value: float) -> Config:
    return loader.from_dict(Config, loader.merge(asdict(Config()), {name: value}), "a.yaml")


@pytest.mark.parametrize("name", [*WEIGHTS, *RATES, "train.code_std", "train.minutes", "train.free_share"])
def test_a_weight_or_rate_that_is_negative_or_not_finite_is_refused(name: str) -> None:
    for value, expected in ((-0.1, "at least 0"), (math.nan, "a finite number"), (math.inf, "a finite number")):
        with pytest.raises(ConfigError, match=rf"^{name} must be {expected}, got {value}$"):
            require_valid(_with(name, value))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train.steps", 0, "train.steps must be at least 1, got 0"),
        ("train.seed", -1, "train.seed must be at least 0, got -1"),
        ("train.lr_final", 1.5, "train.lr_final is a share and must be at most 1, got 1.5"),
        ("train.beta2", 1.0, "train.beta2 must be below 1"),
        ("train.memory_gb", 0.0, "train.memory_gb must be above 0, got 0.0"),
        ("model.band_voxels", 0.0, "model.band_voxels must be above 0, got 0.0"),
        ("model.overfit.skip", 4, "model.overfit.skip must be a hidden layer, 0 to 3, got 4"),
    ],
)
def test_a_number_out_of_its_range_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_valid(_with(name, value))


def test_bounds_belong_to_their_range() -> None:
    require_valid(Config())
    for name, value in (
        ("loss.general", 0.0),
        ("train.lr_grid", 0.0),
        ("train.lr_final", 1.0),
        ("train.lr_final", 0.0),
    ):
        require_valid(_with(name, value))


def test_every_number_of_a_schedule_and_of_a_section_counts() -> None:
    @dataclass(frozen=True)
    class Section:
        schedule: tuple[float, ...] = (1.0, 0.5, 2.0, 3.0)
        on: bool = False

    @dataclass(frozen=True)
    class Whole:
        section: Section
        name: str = "a"

    require_in_range(Whole(Section()), {})
    with pytest.raises(ConfigError, match=r"^section\.schedule must be at least 0, got -2\.0$"):
        require_in_range(Whole(Section((1.0, 0.5, -2.0, 3.0))), {})
    with pytest.raises(ConfigError, match=r"^section\.schedule must be at least 2, got 1\.0$"):
        require_in_range(Whole(Section()), {"section.schedule": 2})
