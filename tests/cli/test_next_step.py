"""What each command says at its end: the next command, which can be parsed as printed."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from latentsdf import cli
from latentsdf.cli.main import COMMANDS, command_class
from latentsdf.cli.parser import parse

RESULTS: dict[str, dict[str, Any] | None] = {
    "train": {"step": 3.0, "loss": 0.1},
    "extract": {"meshes": {"a.ply": {}}, "failed": {}},
    "invert": {"ok": True},
    "retrieve": {"ids": ["first", "second"], "distances": [0.0, 0.1]},
    "info": {"checkpoint": "a"},
    "reconstruct": {},
}
"""Results of commands of which `next_step` depends on the result."""


def _words(name: str, line: str) -> list[str]:
    words = shlex.split(line.partition(" > ")[0])
    assert words[:2] == ["latentsdf", name]
    return words[2:]


def _check(text: str) -> None:
    """Parse the command line at the end of a next step, if it has one."""
    if "latentsdf " in text:
        words = shlex.split(text[text.index("latentsdf ") :])
        parse(command_class(words[1]), words[2:], f"latentsdf {words[1]}")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("import", "view")])
def test_lines_after_examples(name: str, store_path: Path) -> None:
    """After each example of the help, the next step is a command line with the paths of the example, or a sentence."""
    command = command_class(name)
    texts = []
    for line in command.examples:
        result = RESULTS.get(name)
        if name == "invert" and "a.obj b.obj" in line:
            result = {"a": {"failed": "empty"}, "b": {"ok": True}}
        if name != "info" or ".zarr" not in line:
            texts.append(parse(command, _words(name, line), name).next_step(result))
    assert any(texts) and not any("\n" in text for text in texts)
    for text in texts:
        _check(text)
    _check(parse(command_class("info"), [str(store_path)], "info").next_step({"store": str(store_path)}))


def test_weak_fit() -> None:
    """A fit that is not good enough is to be refined, unless it was, or is partial."""
    parsed = parse(command_class("invert"), ["space", "a b.obj", "--out", "fit"], "invert")
    assert parsed.next_step({"ok": False}).endswith("latentsdf invert space 'a b.obj' --out fit --refine")
    assert "extract space --code fit --resolution 512" in parsed.next_step({"ok": True})
    refined = parse(command_class("invert"), ["space", "a.obj", "--out", "fit", "--refine"], "invert")
    assert "--refine" not in refined.next_step({"ok": False})
    several = parse(command_class("invert"), ["space", "a.obj", "b.obj", "--out", "fits"], "invert")
    reports = {"a": {"failed": "empty"}, "b": {"ok": True}}
    assert "--code fits/b " in several.next_step(reports)


def test_printed_line(store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line is the last one on standard error, after the place of the result; standard output has only the JSON."""
    out = tmp_path / "tables.h5"
    assert cli.main(["export", str(store_path), str(out), "--json"]) == 0
    said = capsys.readouterr()
    *_, place, last = said.err.splitlines()
    assert place.startswith(f"{out}: ") and last == f"next: latentsdf import {out} copy.zarr"
    assert said.out.startswith("{") and "next:" not in said.out
    assert cli.main(["import", str(out), str(tmp_path / "copy.zarr")]) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    data = f"--data {tmp_path / 'copy.zarr'} --out checkpoints/copy"
    assert line == f"next: latentsdf train --config latentsdf_cpu {data} --minutes 15"


def test_store_of_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store of point clouds is trained with the preset for points."""
    (tmp_path / "ball").mkdir()
    (tmp_path / "ball" / "a.xyz").write_text("".join(f"{i % 3} {i % 5} {i % 7}\n" for i in range(200)))
    assert cli.main(["import", str(tmp_path), str(tmp_path / "points.zarr")]) == 0
    assert "--config igr_cpu" in capsys.readouterr().err.splitlines()[-1]


def test_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed command says nothing about a next step."""
    assert cli.main(["info", str(tmp_path / "nothing")]) == 2
    assert "next:" not in capsys.readouterr().err
