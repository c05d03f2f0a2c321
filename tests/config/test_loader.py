"""Configuration files: defaults, overrides, and errors that name the key."""

from pathlib import Path

import pytest
from helpers import CONFIGS

from latentsdf.config.loader import from_dict, load, merge
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError


def test_only_what_is_named_differs_from_the_defaults() -> None:
    config = from_dict(Config, {"train": {"steps": 5, "lr_grid": "1e-3"}, "model": {"general": {"depth": 7}}}, "x")
    assert (config.train.steps, config.train.lr_grid, config.model.general.depth) == (5, 1e-3, 7)
    assert config.loss == Config().loss and config.model.overfit == Config().model.overfit
    assert config.model.general.width == Config().model.general.width != type(config.model.general)().width


def test_merge_leaves_its_input_alone() -> None:
    values = {"train": {"steps": 5}}
    assert merge(values, {"train.seed": 2, "loss.heat": 0.1}) == {
        "train": {"steps": 5, "seed": 2},
        "loss": {"heat": 0.1},
    }
    assert values == {"train": {"steps": 5}}
    with pytest.raises(ConfigError, match=r"'train\.steps\.more': 'steps' is a value"):
        merge(values, {"train.steps.more": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"stps": 5}}, r"a\.yaml: unknown key 'train\.stps'; did you mean 'train\.steps'\?"),
        (
            {"model": {"general": {"widht": 5}}},
            r"unknown key 'model\.general\.widht'; did you mean 'model\.general\.width'\?",
        ),
        ({"train": {"steps": "many"}}, r"^a\.yaml: train\.steps: expected a whole number, got many$"),
        ({"loss": {"heat": [1.0]}}, r"^a\.yaml: loss\.heat: expected a number, got \[1\.0\]$"),
        (
            {"model": {"general": {"activation": "tanh"}}},
            r"^a\.yaml: model\.general\.activation: expected one of 'relu', 'softplus', got tanh$",
        ),
    ],
)
def test_errors_name_the_file_the_key_and_what_was_expected(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Config, values, "a.yaml")


def test_a_schedule_is_a_list_or_one_number() -> None:
    for given, expected in ((30, (30.0,)), (15.0, (15.0,)), ([4, 0.2, 4, 30], (4.0, 0.2, 4.0, 30.0))):
        assert from_dict(Config, {"loss": {"heat_lambda": given}}, "a").loss.heat_lambda == expected
    expected = r"^a: loss\.heat: expected a list of numbers, such as '\[1\.0, 0\.5\]', got 'much'$"
    with pytest.raises(ConfigError, match=expected):
        from_dict(ReconstructConfig, {"loss": {"heat": "much"}}, "a")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the ones we ship are in configs/"):
        load(Config, tmp_path / "no.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected keys and values"):
        load(Config, tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert load(Config, tmp_path / "empty.yaml") == Config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_shipped_configuration_loads_and_is_named_after_its_file(path: Path) -> None:
    assert load(Config, path).preset == path.stem


def test_an_empty_section_changes_nothing_and_broken_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("train:\nmodel:\n  general:\n")
    assert load(Config, path, {"train.steps": 3}).train.steps == 3
    path.write_text("train: [")
    with pytest.raises(ConfigError, match=r"a\.yaml: not YAML"):
        load(Config, path)
