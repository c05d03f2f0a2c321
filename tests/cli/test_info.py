"""`latentsdf info`: stores and spaces."""

import json
from pathlib import Path

import pytest

from latentsdf import cli


def test_store(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists the shapes of a store, and verification reads them."""
    assert cli.main(["info", str(store_path), "--verify", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert len(described["shapes"]) == 4 and described["verified"] is True


def test_space(space_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A space is described by its configuration and its shapes."""
    assert cli.main(["info", str(space_path), "--json"]) == 0
    printed = capsys.readouterr()
    described = json.loads(printed.out)
    assert len(described["shapes"]) == 4 and described["config"]["preset"] == "small"
    assert "preset small, 4 shapes, codes of length 8" in " ".join(printed.err.split())


def test_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that does not exist is an error."""
    assert cli.main(["info", str(tmp_path / "none")]) == 2
    assert "no such folder" in " ".join(capsys.readouterr().err.split())
