"""Checks before a command starts its work: ranges, inputs, outputs, and arguments without effect."""

from pathlib import Path

import numpy as np
import pytest
from helpers.settings import small_config
from helpers.training import save_untrained

from latentsdf import cli
from latentsdf.space import ShapeSpace

SPACE = ["nowhere", "--id", "a", "--out"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["render", *SPACE, "a.png", "--offset", "3"], "finite number from -1 to 1, got '3'"),
        (["render", *SPACE, "a.png", "--offset", "nan"], "--offset: expected a finite number"),
        (["render", *SPACE, "a.png", "--size", "0"], "--size: expected an integer >= 2, got '0'"),
        (["render", *SPACE, "a.png", "--azimuth", "inf"], "--azimuth: expected a finite number, got 'inf'"),
        (["extract", *SPACE, "a.ply", "--resolution", "7"], "an integer from 16 to 1024 cells per axis, got 7"),
        (["extract", *SPACE, "a.ply", "--resolution", "513"], "the nearest that do are 512 and"),
        (["extract", *SPACE, "a.ply", "--smallest-piece", "2"], "from 0 to 1, got '2'"),
        (["invert", "nowhere", "a.obj", "--out", "x", "--resolution", "5000"], "16 to 1024 cells per axis, got 5000"),
        (
            ["invert", "nowhere", "a.obj", "--out", "x", "--steps", "0"],
            "--steps: expected an integer >= 1",
        ),
        (
            ["invert", "nowhere", "a.obj", "--out", "x", "--prior", "-1"],
            "--prior: expected a finite number >= 0",
        ),
        (["invert", "nowhere", "a.obj", "--out", "x", "--seed", "-1"], "--seed: expected an integer >= 0"),
        (["invert", "nowhere", "a.obj", "--out", "x", "--refine-seconds", "0"], "expected a finite number above 0"),
        (["interpolate", "nowhere", "--id", "a", "b", "--out", "x", "--steps", "1"], "an integer >= 2, got '1'"),
        (["sample", "nowhere", "--random", "0", "--out", "x"], "--random: expected an integer >= 1"),
        (["retrieve", "nowhere", "--id", "a", "-k", "0"], "-k: expected an integer >= 1, got '0'"),
        (["retrieve", "nowhere", "--id", "a", "--rerank", "-1"], "--rerank: expected an integer >= 0"),
        (["evaluate", "nowhere", "--meshes", ".", "--points", "0"], "--points: expected an integer >= 1"),
        (["reconstruct", "a.npy", "--out", "x", "--resolution", "12"], "16 to 1024 cells per axis, got 12"),
        (["reconstruct", "a.npy", "--out", "x", "--minutes", "nan"], "--minutes: expected a finite number above 0"),
        (["train", "--data", "a.zarr", "--out", "x", "--minutes", "0"], "expected a finite number above 0, got '0'"),
        (["demo", "--minutes", "0"], "--minutes: expected a finite number above 0, got '0'"),
        (["demo", "--workers", "-1"], "--workers: expected an integer >= 0, got '-1'"),
    ],
)
def test_numbers_out_of_range(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number out of range is rejected before the work starts."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(args)
    assert message in " ".join(capsys.readouterr().err.split())


def test_unreadable_inputs_and_useless_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unreadable inputs and arguments without effect are rejected."""
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "space", small_config())
    (tmp_path / "taken").touch()
    (tmp_path / "field").mkdir()
    (tmp_path / "field" / "field.json").touch()
    for args, message in (
        (
            ["extract", "field", "--id", "a", "--out", "a.ply"],
            "model.safetensors is missing; it holds a reconstruction",
        ),
        (["render", *SPACE, "a.png", "--offset", "0.5"], "--axis and --offset apply to slices only"),
        (["demo", "--out", "taken"], "taken: cannot be created as a folder"),
    ):
        assert cli.main(args) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_unwritable_and_unreadable_files(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unwritable outputs and unreadable inputs are rejected before the work starts."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    for name in ("invert_many", "extract"):
        monkeypatch.setattr(ShapeSpace, name, work)
    monkeypatch.setattr("latentsdf.reconstruction.reconstruct.reconstruct", work)
    taken, space = tmp_path / "taken", [str(space_path), "--device", "cpu"]
    taken.write_text("a file")
    points, words, empty = tmp_path / "points.npy", tmp_path / "words.npy", tmp_path / "empty.npy"
    np.save(points, np.random.default_rng(0).normal(size=(200, 3)))
    np.save(words, np.array(["a", "b"]))
    empty.touch()
    ids = ["--id", "table_0000", "table_0001"]
    for command, message in (
        (["invert", *space, str(points), "--out", str(taken)], "cannot be created as a folder"),
        (["interpolate", *space, *ids, "--out", str(taken)], "cannot be created as a folder"),
        (["interpolate", *space, *ids, "--out", str(taken / "strip.png")], "cannot be created as a folder"),
        (["reconstruct", str(points), "--out", str(taken)], "cannot be created as a folder"),
        (["reconstruct", str(points), "--out", str(tmp_path / "out"), "--truth", "none.ply"], "none.ply"),
        (
            ["reconstruct", str(points), "--out", str(tmp_path / "out"), "--train.lr_netwrk", "1"],
            "did you mean --train.lr-network",
        ),
        (["reconstruct", str(points), "--out", str(tmp_path / "out"), "--lr", "[1"], "'[1' is not a valid value"),
        (["reconstruct", str(empty), "--out", str(tmp_path / "out")], "empty.npy"),
        (["reconstruct", str(words), "--out", str(tmp_path / "out")], "a table of real numbers"),
        (["invert", *space, str(empty), "--out", str(tmp_path / "out")], "empty.npy: the file is empty"),
        (["invert", *space, str(words), "--out", str(tmp_path / "out")], "a table of real numbers"),
    ):
        assert cli.main(command) == 2
        assert message in " ".join(capsys.readouterr().err.split())
