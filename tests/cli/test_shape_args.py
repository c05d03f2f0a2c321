"""Shapes given on the command line by id, code or folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.settings import small_config
from helpers.training import save_untrained

import latentsdf as ls
from latentsdf import cli
from latentsdf.cli.shape_args import named_code, queries, query, read_code
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import ConfigError


@pytest.fixture
def untrained(tmp_path: Path) -> ShapeSpace:
    """Untrained space with the shapes a and b."""
    save_untrained(tmp_path / "space", small_config())
    return ls.load(tmp_path / "space", "cpu")


def test_shape_by_id(untrained: ShapeSpace) -> None:
    """Ids of training shapes are returned unchanged, with one entry per id."""
    assert query(untrained, "b", None) == "b"
    assert named_code(untrained, "a") == "a"
    assert queries(untrained, ["b", "a"], None) == {"b": "b", "a": "a"}
    with pytest.raises(ConfigError, match="no training shape 'c'"):
        named_code(untrained, "c")


def test_shape_by_code_file(untrained: ShapeSpace, tmp_path: Path) -> None:
    """Every way to give a code file returns the stored code."""
    path = tmp_path / "code.npy"
    stored = np.arange(8, dtype=np.float32)
    np.save(path, stored)
    found = [
        query(untrained, None, path),
        queries(untrained, None, path)[""],
        named_code(untrained, str(path)),
        read_code(untrained, path),
    ]
    for code in found:
        assert np.array_equal(np.asarray(code), stored)


def test_missing_shape(untrained: ShapeSpace) -> None:
    """Without a shape the error lists the arguments that give one."""
    with pytest.raises(ConfigError, match=r"or --code FOLDER\|FILE.npy$"):
        query(untrained, None, None)
    with pytest.raises(ConfigError, match=r", or --mesh FILE$"):
        queries(untrained, None, None, mesh=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("none", "none: no such code file or folder of latentsdf invert"),
        ("bare", "bare: not a folder written by latentsdf invert; missing report.json and code.npy"),
        ("fit", "fit: not a folder written by latentsdf invert; missing code.npy"),
    ],
)
def test_unreadable_codes(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]
) -> None:
    """A missing code and an incomplete folder of a fit are rejected."""
    monkeypatch.chdir(tmp_path)
    save_untrained(tmp_path / "space", small_config())
    for mark in ("bare/x", "fit/report.json"):
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).touch()
    assert cli.main(["extract", "space", "--out", "a.ply", "--code", code]) == 2
    assert message in messages()


@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["extract", "space", "--id", "tabel_0000", "--out", "x.ply"], "no training shape 'tabel_0000'"),
        (["extract", "space", "--out", "x.ply"], "no shape is given: pass --id ID"),
        (["retrieve", "space"], "or --mesh FILE"),
        (["extract", "space", "--id", "[cpu]", "--out", "x.ply"], "no training shape '[cpu]'"),
    ],
)
def test_wrong_shapes(command: list[str], message: str, messages: Callable[[], str]) -> None:
    """An unknown id and a missing shape cause exit code 2 and a message about them."""
    assert cli.main(command) == 2
    assert message in messages()
