"""Loading of configurations from files and dictionaries: defaults, overrides, presets, and error messages."""

from pathlib import Path

import pytest
import yaml
from helpers.paths import CONFIGS

from latentsdf.config.loader import find_preset, from_dict, load, merge, preset_names, to_dict, to_yaml
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError


def test_precedence_of_given_settings() -> None:
    """Only the given settings differ, and a section keeps the defaults of the class that contains it."""
    config = from_dict(Config, {"train": {"steps": 5, "lr_grid": "1e-3"}, "model": {"general": {"depth": 7}}}, "x")
    assert (config.train.steps, config.train.lr_grid, config.model.general.depth) == (5, 1e-3, 7)
    assert config.loss == Config().loss and config.model.overfit == Config().model.overfit
    assert config.model.general.width == Config().model.general.width != type(config.model.general)().width


def test_merge_of_nested_values() -> None:
    """Dotted overrides are applied to a copy; a dot after a setting is an error."""
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
        ({"trian": {"steps": 5}}, r"a\.yaml: unknown key 'trian'; did you mean 'train'\?"),
        (
            {"model": {"general": {"widht": 5}}},
            r"unknown key 'model\.general\.widht'; did you mean 'model\.general\.width'\?",
        ),
        ({"train": {"steps": "many"}}, r"^a\.yaml: train\.steps: expected an integer, got 'many'$"),
        ({"train": {"steps": {"a": 1}}}, r"^a\.yaml: train\.steps: expected an integer, got \{'a': 1\}$"),
        ({"train": 5}, r"^a\.yaml: train: expected keys and values, got 5$"),
        ({"loss": {"clamp": [1.0]}}, r"^a\.yaml: loss\.clamp: expected a number, got \[1\.0\]$"),
        (
            {"loss": {"heat": "much"}},
            r"^a\.yaml: loss\.heat: expected a list of numbers, such as '\[1\.0, 0\.5\]', got",
        ),
        (
            {"model": {"general": {"activation": "tanh"}}},
            r"^a\.yaml: model\.general\.activation: expected one of 'relu' or 'softplus', got 'tanh'$",
        ),
    ],
)
def test_content_of_error_messages(values: dict[str, object], message: str) -> None:
    """A message names the source, the dotted key, the expected values and the given value."""
    with pytest.raises(ConfigError, match=message):
        from_dict(Config, values, "a.yaml")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(30, (30.0,)), (15.0, (15.0,)), ("1e-3", (1e-3,)), ([4, 0.2, 4, 30], (4.0, 0.2, 4.0, 30.0))],
)
def test_schedule_from_list_or_number(given: object, expected: tuple[float, ...]) -> None:
    """A bare number is a constant schedule."""
    assert from_dict(Config, {"loss": {"heat_lambda": given}}, "a").loss.heat_lambda == expected


def test_invalid_files(tmp_path: Path) -> None:
    """Errors name missing files, YAML without a mapping and invalid YAML; an empty file gives the defaults."""
    with pytest.raises(FileNotFoundError, match=r"no\.yaml: no such configuration file; presets .*: compact_sdf, "):
        load(Config, tmp_path / "no.yaml")
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError, match="expected keys and values"):
        load(Config, path)
    path.write_text("")
    assert load(Config, path) == Config()
    path.write_text("train: [")
    with pytest.raises(ConfigError, match=r"a\.yaml: not YAML"):
        load(Config, path)


@pytest.mark.parametrize("text", ["preset: a\npreset: b\n", "train:\n  steps: 5\n  seed: 1\n  steps: 6\n"])
def test_repeated_keys(text: str, tmp_path: Path) -> None:
    """A key that occurs twice is refused instead of keeping one of its values."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match="occurs twice"):
        load(Config, tmp_path / "a.yaml")


def test_defaults_of_empty_section(tmp_path: Path) -> None:
    """A section without settings changes nothing."""
    path = tmp_path / "a.yaml"
    path.write_text("train:\nmodel:\n  general:\n")
    assert load(Config, path, {"train.steps": 3}).train.steps == 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_yaml_round_trip_of_presets(path: Path, tmp_path: Path) -> None:
    """Each preset is named after its file and survives being written and read."""
    config = load(Config, path)
    assert config.preset == path.stem
    (tmp_path / "a.yaml").write_text(to_yaml(config))
    assert load(Config, tmp_path / "a.yaml") == config


def test_yaml_of_constant_schedules() -> None:
    """Constant schedules are numbers, others lists."""
    config = from_dict(Config, {"loss": {"heat_lambda": [4, 0.2, 4, 30]}}, "a")
    loss = yaml.safe_load(to_yaml(config))["loss"]
    assert loss["heat_lambda"] == [4.0, 0.2, 4.0, 30.0] and loss["general"] == 1.0
    assert to_dict(config)["loss"] == loss


def test_preset_names_versus_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is always a shipped preset, regardless of the working directory; all other values are paths."""
    (tmp_path / "configs").mkdir()
    for name in ("deepsdf", "deepsdf.yaml", "configs/deepsdf.yaml", "mine"):
        (tmp_path / name).write_text("preset: mine\n")
    monkeypatch.chdir(tmp_path)
    assert load(Config, find_preset("deepsdf")).preset == "deepsdf"
    for name in ("deepsdf.yaml", "./deepsdf", "configs/deepsdf.yaml", str(tmp_path / "deepsdf")):
        assert load(Config, find_preset(name)).preset == "mine"
    with pytest.raises(ConfigError, match=r"unknown preset 'deepsdv'; did you mean 'deepsdf'\? Presets: compact_sdf, "):
        find_preset("deepsdv")
    assert preset_names() == [path.stem for path in CONFIGS]
