"""`latentsdf train`: sources of the configuration, conflicting arguments and a short run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.settings import SMALL_SAMPLING, small_config
from helpers.training import save_untrained

from latentsdf import cli
from latentsdf.cli.parser import parse
from latentsdf.cli.train import Train
from latentsdf.config.training import Config
from latentsdf.data.store import SampleStore


def _configuration(*args: str) -> Config:
    return parse(Train, ["--data", "a.zarr", *args], "latentsdf train").configuration()


def test_configuration_of_resumed_run(tmp_path: Path) -> None:
    """A resumed run has the configuration of its checkpoint, overridden by the command line."""
    save_untrained(tmp_path / "space", small_config())
    config = _configuration("--out", str(tmp_path / "space"), "--resume", "--steps", "900")
    assert config == small_config(steps=900)


def test_configuration_of_extended_space(tmp_path: Path) -> None:
    """An extension has the configuration of the space, but its own budget."""
    trained = small_config(minutes=3.0, epochs=4)
    save_untrained(tmp_path / "space", trained)
    extend = ["--out", str(tmp_path / "more"), "--extend", str(tmp_path / "space")]
    unlimited = replace(trained.train, minutes=0.0, epochs=0, steps=2_000)
    assert _configuration(*extend) == replace(trained, train=unlimited)
    assert _configuration(*extend, "--train.epochs", "7").train.epochs == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--extend", "space", "--resume"], "leave out --resume and --config"),
        (["--extend", "space", "--config", "deepsdf_cpu"], "leave out --resume and --config"),
        (["--start-from", "space", "--extend", "space"], "leave out --resume, --extend and --config"),
        (["--fine-tune"], "--fine-tune requires --extend SPACE"),
    ],
)
def test_conflicting_arguments(args: list[str], message: str, messages: Callable[[], str]) -> None:
    """Arguments that exclude or require each other are rejected before the work starts."""
    assert cli.main(["train", "--data", "a.zarr", "--out", "x", *args]) == 2
    assert message in messages()


def test_unwritable_output(tmp_path: Path, messages: Callable[[], str]) -> None:
    """An output folder that cannot be created is reported before the missing store."""
    (tmp_path / "taken").touch()
    assert cli.main(["train", "--data", "none.zarr", "--out", str(tmp_path / "taken")]) == 2
    assert "taken: cannot be created as a folder" in messages()


def test_failure_before_the_first_file(tmp_path: Path, messages: Callable[[], str]) -> None:
    """A command that fails before it writes anything leaves no empty folders, but keeps those that were there."""
    (tmp_path / "kept").mkdir()
    for out in ("new/space", "kept"):
        assert cli.main(["train", "--data", str(tmp_path / "none.zarr"), "--out", str(tmp_path / out)]) == 2
    assert "no such sample store" in messages()
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "--data", "nowhere.zarr", "--out", "x"], "no such sample store"),
        (["train", "--data", "store", "--out", "x", "--train.stps", "3"], "did you mean --train.steps?"),
        (["train", "--data", "store", "--out", "x", "--stps", "3"], "did you mean --steps"),
        (["train", "--data", "store", "--out", "x", "--steps", "0"], "train.steps must be at least 1, got 0"),
        (["train", "--data", "store", "--out", "x", "--config", "./file"], "file: not YAML"),
    ],
)
def test_wrong_arguments(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    messages: Callable[[], str],
) -> None:
    """Invalid settings and unreadable files cause exit code 2 and a message about them."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"\x89\xff\x00")
    SampleStore.create(Path("store"), SMALL_SAMPLING)
    assert cli.main(command) == 2
    assert message in messages()


@pytest.mark.slow
def test_short_run(store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two steps write a loadable checkpoint; the last metrics are logged, and printed as JSON."""
    from latentsdf.config.loader import to_yaml
    from latentsdf.training import checkpoint

    (tmp_path / "small.yaml").write_text(to_yaml(small_config()))
    out = tmp_path / "space"
    args = ["train", "--config", str(tmp_path / "small.yaml"), "--data", str(store_path), "--out", str(out)]
    assert cli.main([*args, "--steps", "2", "--device", "cpu", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics == pytest.approx(checkpoint.read_metrics(out)[-1])
    assert checkpoint.load_state(out)["step"] == 2
    assert checkpoint.load_config(out) == small_config(steps=2)
