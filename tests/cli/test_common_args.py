"""Argument groups shared by several commands, and checks of output paths."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from latentsdf import cli
from latentsdf.cli.common_args import create_output_folder, require_png
from latentsdf.cli.evaluate import Evaluate
from latentsdf.cli.invert import Invert
from latentsdf.cli.parser import parse
from latentsdf.config.inversion import ADAM_RECIPES, InvertConfig, RefineConfig
from latentsdf.config.loader import find_preset, load
from latentsdf.config.training import Config
from latentsdf.utils.errors import ConfigError


def _invert(*args: str) -> Invert:
    return parse(Invert, ["space", "a.obj", "--out", "x", *args], "latentsdf invert")


def test_settings_of_inversion() -> None:
    """Arguments that are given replace the default settings of the inversion."""
    assert _invert().inversion() == InvertConfig(by_layer=False)
    args = ["--steps", "7", "--starts", "3", "--points", "99", "--prior", "0", "--partial", "--align"]
    expected = InvertConfig(
        steps=7, starts=3, points=99, prior=0.0, partial=True, align=True, frame="model", seed=4, by_layer=True
    )
    assert _invert(*args, "--frame", "model", "--seed", "4").inversion(by_layer=True) == expected
    for frame in ("shape", "user"):  # the second one is the former name
        assert _invert("--frame", frame).inversion() == InvertConfig(by_layer=False)


def test_settings_of_published_inversions() -> None:
    """The numbers are those of a publication, except the ones that are given."""
    chosen = _invert("--method", "adam", "--recipe", "deepsdf", "--steps", "7", "--prior", "0", "--seed", "3")
    expected = replace(ADAM_RECIPES["deepsdf"], steps=7, prior=0.0)
    assert chosen.inversion(by_layer=True) == InvertConfig(method="adam", adam=expected, seed=3)
    by_preset = _invert("--method", "adam").inversion(load(Config, find_preset("igr"))).adam
    assert by_preset == ADAM_RECIPES["igr"]


def test_documented_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """The defaults in the help are those of the settings."""
    with pytest.raises(SystemExit):
        cli.main(["invert", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in ("steps", "starts", "points", "prior"):
        part = text[text.index(f" --{name} ") :]
        default = re.search(r"\(default: ([^)]*)\)", part)
        assert default and float(default[1]) == getattr(InvertConfig(), name)


def test_settings_of_refinement() -> None:
    """A refinement is requested by --refine, or by a budget alone."""
    evaluate = ["space", "--meshes", "m"]
    for args, expected in (
        ([], None),
        (["--refine"], RefineConfig(seed=5)),
        (["--budget-kb", "16"], RefineConfig(budget_kb=16, seed=5)),
        (["--refine-seconds", "2.5"], RefineConfig(budget_kb=0, seconds=2.5, seed=5)),
    ):
        assert parse(Evaluate, [*evaluate, *args], "latentsdf evaluate").refinement(5) == expected


def test_arguments_without_inversion() -> None:
    """The error names all arguments of the inversion that would have no effect."""
    _invert().reject_invert_args()
    with pytest.raises(ConfigError, match="^--points and --partial and --seed would have no effect"):
        _invert("--points", "9", "--partial", "--seed", "1").reject_invert_args()


def test_image_suffixes() -> None:
    """Images are written as .png, in lower or upper case."""
    require_png(None)
    require_png(Path("a.PNG"))
    with pytest.raises(ConfigError, match="images are written as .png, got a.jpg"):
        require_png(Path("a.jpg"))


def test_creation_of_output_folder(tmp_path: Path) -> None:
    """Missing parents of an output folder are created, and an existing folder is accepted."""
    create_output_folder(None)
    for _ in range(2):
        create_output_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["extract", "nowhere", "--id", "a", "--out", "x.ply"], "no such checkpoint folder"),
        (["render", "space", "--id", "a", "--out", "x"], "images are written as .png"),
        (["render", "space", "--id", "a", "--out", "x.png", "--device", "gpu"], "unknown device 'gpu'"),
        (["retrieve", "space", "--id", "a", "--steps", "3", "--align"], "--steps and --align would have no"),
        (["retrieve", "space", "--id", "a", "--prior", "0"], "--prior would have no effect"),
        (["extract", "space", "--id", "a", "--out", "file/x.ply"], "file: cannot be created as a folder"),
        (["render", "space", "--id", "a", "--out", "file/x.png"], "file: cannot be created as a folder"),
        (["retrieve", "space", "--id", "a", "--out", "file/x.png"], "file: cannot be created as a folder"),
    ],
)
def test_wrong_arguments(command: list[str], message: str, messages: Callable[[], str]) -> None:
    """Shared arguments with invalid values cause exit code 2 and a message about them."""
    assert cli.main(command) == 2
    assert message in messages()
