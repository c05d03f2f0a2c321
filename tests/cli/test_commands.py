"""The command line: flags that explain themselves, examples that are still true, numbers refused before the work."""

import argparse
import shlex
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers import save_untrained, small_config

from latentsdf import cli
from latentsdf.cli import frame_output
from latentsdf.cli.main import build_parser
from latentsdf.cli.parser import EXAMPLES

COMMANDS = [
    words[1:]
    for line in EXAMPLES.splitlines()
    for words in (shlex.split(command) for command in line.split("&&"))
    if words[0] == "latentsdf"
]
SPACE = ["nowhere", "--id", "a", "--out"]


def _verbs() -> dict[str, argparse.ArgumentParser]:
    (verbs,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(verbs.choices)


def test_every_flag_says_what_it_does_and_every_verb_shows_its_use() -> None:
    for name, parser in _verbs().items():
        assert [action.dest for action in parser._actions if not action.help] == [], name
        assert f"latentsdf {name}" in (parser.epilog or ""), name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_examples_are_commands(words: list[str]) -> None:
    arguments, rest = build_parser().parse_known_args(words)
    assert rest == [] and arguments.run is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["render", *SPACE, "a.png", "--offset", "3"], "finite number of at least -1 and of at most 1, got '3'"),
        (["render", *SPACE, "a.png", "--offset", "nan"], "--offset: expected a finite number"),
        (["render", *SPACE, "a.png", "--size", "0"], "--size: expected a whole number of at least 2, got '0'"),
        (["render", *SPACE, "a.png", "--azimuth", "inf"], "--azimuth: expected a finite number, got 'inf'"),
        (["extract", *SPACE, "a.ply", "--resolution", "7"], "a whole number from 16 to 1024 cells per axis, got 7"),
        (["extract", *SPACE, "a.ply", "--resolution", "513"], "the nearest that do are 512 and"),
        (["extract", *SPACE, "a.ply", "--smallest-piece", "2"], "of at least 0 and of at most 1, got '2'"),
        (["invert", "nowhere", "a.obj", "--out", "x", "--resolution", "5000"], "16 to 1024 cells per axis, got 5000"),
        (
            ["invert", "nowhere", "a.obj", "--out", "x", "--steps", "0"],
            "--steps: expected a whole number of at least 1",
        ),
        (
            ["invert", "nowhere", "a.obj", "--out", "x", "--prior", "-1"],
            "--prior: expected a finite number of at least 0",
        ),
        (["invert", "nowhere", "a.obj", "--out", "x", "--seed", "-1"], "--seed: expected a whole number of at least 0"),
        (["invert", "nowhere", "a.obj", "--out", "x", "--refine-seconds", "0"], "expected a finite number above 0"),
        (["interpolate", "nowhere", "--ids", "a", "b", "--out", "x", "--steps", "1"], "at least 2, got '1'"),
        (["sample", "nowhere", "--random", "0", "--out", "x"], "--random: expected a whole number of at least 1"),
        (["retrieve", "nowhere", "--id", "a", "-k", "0"], "-k: expected a whole number of at least 1, got '0'"),
        (["retrieve", "nowhere", "--id", "a", "--rerank", "-1"], "--rerank: expected a whole number of at least 0"),
        (["evaluate", "nowhere", "--meshes", ".", "--points", "0"], "--points: expected a whole number of at least 1"),
        (["reconstruct", "a.npy", "--out", "x", "--resolution", "12"], "16 to 1024 cells per axis, got 12"),
        (["reconstruct", "a.npy", "--out", "x", "--minutes", "nan"], "--minutes: expected a finite number above 0"),
        (["train", "--data", "a.zarr", "--out", "x", "--minutes", "0"], "expected a finite number above 0, got '0'"),
        (["demo", "--minutes", "0"], "--minutes: expected a finite number above 0, got '0'"),
        (["demo", "--workers", "-1"], "--workers: expected a whole number of at least 0, got '-1'"),
    ],
)
def test_a_number_out_of_its_range_is_refused_before_the_work(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_read_or_has_no_effect_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "space", small_config())
    (tmp_path / "taken").touch()
    for mark in ("bare/x", "field/field.json", "fit/report.json"):
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).touch()
    code = ["extract", "space", "--out", "a.ply", "--code"]
    for words, message in (
        ([*code, "none"], "none: no such code file, nor a folder of latentsdf invert"),
        ([*code, "bare"], "bare: not a folder of latentsdf invert, report.json and code.npy is missing"),
        ([*code, "fit"], "fit: not a folder of latentsdf invert, code.npy is missing"),
        (
            ["extract", "field", "--id", "a", "--out", "a.ply"],
            "model.safetensors is missing; it holds a reconstruction",
        ),
        (["info", "space", "--verify"], "--verify reads every shape of a sample store"),
        (["render", *SPACE, "a.png", "--offset", "0.5"], "--axis and --offset place a slice"),
        (["train", "--data", "none.zarr", "--out", "taken"], "taken: cannot be made a folder"),
        (["demo", "--out", "taken"], "taken: cannot be made a folder"),
    ):
        assert cli.main(words) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_frames_of_a_longer_path_do_not_stay(tmp_path: Path) -> None:
    for count in (3, 2):
        frame_output.write(tmp_path, np.zeros((count, 8)), count * [trimesh.creation.box()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.npy", "frame_000.glb", "frame_001.glb"]


@pytest.mark.parametrize("device", ["gpu", "mps", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--device", device]) == 2
    assert f"device '{device}'" in capsys.readouterr().err
