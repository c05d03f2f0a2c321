"""Settings of configuration dataclasses on the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.paths import CONFIGS

from latentsdf import cli
from latentsdf.cli.main import command_class
from latentsdf.cli.parser import flags_of, parse
from latentsdf.cli.reconstruct import Reconstruct
from latentsdf.cli.train import Train
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError

NEEDED = ["--data", "a.zarr", "--out", "b"]


def _config(*args: str) -> Config:
    return parse(Train, [*NEEDED, *args], "latentsdf train").configuration()


@pytest.mark.parametrize(
    ("args", "section", "name", "value"),
    [
        ("--train.lr-grid 1e-3", "train", "lr_grid", 1e-3),
        ("--train.lr-grid=0.5", "train", "lr_grid", 0.5),
        ("--train.steps 12", "train", "steps", 12),
        ("--train.bf16 false", "train", "bf16", False),
        ("--train.tensorboard True", "train", "tensorboard", True),
        ("--loss.heat-lambda 4 0.2 4 30", "loss", "heat_lambda", (4, 0.2, 4, 30)),
        ("--loss.heat-lambda [4.0,0.2,4,30]", "loss", "heat_lambda", (4, 0.2, 4, 30)),
        ("--loss.heat-lambda [7.0]", "loss", "heat_lambda", (7,)),
        ("--loss.heat-lambda 7", "loss", "heat_lambda", (7,)),
        ("--loss.code-prior kl", "loss", "code_prior", "kl"),
        ("--minutes 3", "train", "minutes", 3.0),
        ("--minutes 3", "train", "steps", 10_000_000),
        ("--minutes 3 --train.steps 7", "train", "steps", 7),
        ("--seed 5 --steps 9", "train", "seed", 5),
    ],
)
def test_given_settings(args: str, section: str, name: str, value: object) -> None:
    """A setting that is given replaces the default, and schedules are also accepted in YAML notation."""
    assert getattr(getattr(_config(*args.split()), section), name) == value


def test_defaults_of_other_settings() -> None:
    """Without settings the configuration is the default one, or the preset."""
    assert _config() == Config()
    assert _config("--config", "deepsdf_cpu") != Config()
    assert _config("--config", "latentsdf_cpu", "--preset", "latentsdf_cpu").preset == "latentsdf_cpu"


def test_nested_sections() -> None:
    """Settings of nested sections have dotted names."""
    assert _config("--model.general.width", "33").model.general.width == 33


def test_old_spelling_of_setting(messages: Callable[[], str]) -> None:
    """Underscores are accepted with a note that names the current spelling."""
    assert _config("--train.lr_grid", "0.25").train.lr_grid == 0.25
    assert messages() == "note --train.lr_grid is now --train.lr-grid"


@pytest.mark.parametrize(
    ("args", "section", "name", "value", "note"),
    [
        ("--loss.divergence 0.5", "loss", "directional_divergence", (0.5,), "--loss.directional-divergence"),
        ("--loss.heat_branch overfit", "loss", "regularizer_branch", "overfit", "--loss.regularizer-branch"),
        ("--train.schedule halving", "train", "halve_epochs", 500, "--train.halve-epochs"),
        ("--train.picture-minutes 5", "train", "image_minutes", 5, "--train.image-minutes"),
        ("--train.refresh_steps 4", "train", "steps", 20_000, "a constant"),
    ],
)
def test_renamed_setting(
    args: str, section: str, name: str, value: object, note: str, messages: Callable[[], str]
) -> None:
    """A setting of version 0.1 is accepted with a note that names the current one."""
    assert getattr(getattr(_config(*args.split()), section), name) == value
    assert messages() == f"note {args.split()[0]} is now {note}"


@pytest.mark.parametrize(
    ("args", "section", "name", "value", "note"),
    [
        ("--network.width 48", "model", "width", 48, "--network.width is now --model.width"),
        ("--lr 0.25", "train", "lr_network", 0.25, "--lr is now --train.lr-network"),
        ("--lr-rows=0.25", "train", "lr_grid", 0.25, "--lr-rows is now --train.lr-grid"),
        ("--loss.eikonal_squared true", "loss", "eikonal_norm", "l2", "is now --loss.eikonal-norm"),
        ("--loss.guide [0.0]", "loss", "guide", (0.0,), ""),
        ("--loss.heat 0.4 0.8 0.4 0.1", "loss", "heat", (0.4, 0.8, 0.4, 0.1), ""),
        ("--steps 7", "train", "steps", 7, ""),
        ("--minutes 7", "train", "steps", 10_000_000, ""),
        ("--seed 7", "train", "seed", 7, ""),
    ],
)
def test_settings_of_reconstruction(
    args: str, section: str, name: str, value: object, note: str, messages: Callable[[], str]
) -> None:
    """Current and earlier names of the settings of `reconstruct` are accepted."""
    made = parse(Reconstruct, [*args.split(), "--out", "x", "points.npy"], "latentsdf reconstruct")
    assert made.points == Path("points.npy")
    assert getattr(getattr(made.configuration(3), section), name) == value
    assert note in messages()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--train.steps many", "train.steps: expected an integer, got"),
        ("--train.lr-grid [1", "'[1' is not a valid value; lists are written as"),
        ("--train.lrr 1", "unknown argument --train.lrr"),
        ("--loss.code-prior cube", "--loss.code-prior: expected one of norm, squared, kl, got 'cube'"),
        ("--config latentsdf_gpu", "latentsdf_gpu"),
        ("--config missing.yaml", "missing.yaml"),
    ],
)
def test_wrong_settings(args: str, message: str, messages: Callable[[], str]) -> None:
    """An invalid setting causes a one-line error before the work starts."""
    try:
        code = cli.main(["train", *NEEDED, *args.split()])
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    assert code == 2 and message in messages()


@pytest.mark.parametrize("verb", ["train", "reconstruct"])
def test_settings_in_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists every setting with a description and its default."""
    with pytest.raises(SystemExit, match="0"):
        cli.main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    settings = [flag for flag in flags_of(command_class(verb)) if "." in flag]
    assert len(settings) > 30
    for flag in settings:
        # The description follows the flag and its metavariable.
        assert f"{flag} " in text, flag


def test_preset_defaults_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--config` the help shows that preset's values as defaults."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--config", "compact_sdf", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: compact_sdf)" in text


@pytest.mark.slow
@pytest.mark.parametrize("preset", CONFIGS, ids=lambda path: path.stem)
def test_completeness_of_printed_configuration(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--print-config` prints YAML with every setting, from which the same configuration is read."""
    assert cli.main(["train", "--config", preset.stem, "--print-config", "--train.steps", "5"]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert _config("--config", str(tmp_path / "printed.yaml")) == _config("--config", preset.stem, "--steps", "5")
    assert {"model", "loss", "train"} <= set(yaml.safe_load((tmp_path / "printed.yaml").read_text()))


def test_settings_of_another_method(tmp_path: Path, messages: Callable[[], str]) -> None:
    """A setting that the method of a reconstruction does not use is an error."""
    args = ["reconstruct", str(tmp_path), "--out", "x", "--print-config"]
    with pytest.raises(ConfigError, match="'medial_axis' does not use loss.heat"):
        parse(
            command_class("reconstruct"), [*args[1:], "--method", "medial_axis", "--loss.heat", "1"], "reconstruct"
        ).configuration(2)  # type: ignore[attr-defined]
    assert messages() == ""
