"""`latentsdf view`."""

import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from latentsdf.cli import view
from latentsdf.cli.main import main


def test_missing_viser_names_the_extra(
    space_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", str(space_path)]) == 2
    assert "pip install 'latentsdf[view]'" in capsys.readouterr().err


def test_unusable_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without anything to show is refused before the server starts."""
    pytest.importorskip("viser")
    assert main(["view", str(tmp_path)]) == 2
    assert "neither a space" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["store", "field"])
def test_page_until_interrupted(
    target: str, store_path: Path, messages: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed address serves a page, and Ctrl-C ends the command without an error."""
    pytest.importorskip("viser")
    path = store_path if target == "store" else Path(__file__).parents[1] / "data_0_1" / "field_2d"
    pages = []

    def visit(_: float) -> None:
        found = re.search(r"http://[\w.:]+", messages())
        assert found is not None
        with urllib.request.urlopen(found[0], timeout=20) as answer:
            pages.append(answer.read())
        raise KeyboardInterrupt

    monkeypatch.setattr(view.time, "sleep", visit)
    assert main(["view", str(path), "--no-browser", "--port", "0"]) == 0
    assert len(pages) == 1
    assert b"<html" in pages[0]
    assert "closed" in messages()


def test_address_that_cannot_be_used(store_path: Path, messages: Callable[[], str]) -> None:
    """An address of another machine is refused with advice."""
    pytest.importorskip("viser")
    assert main(["view", str(store_path), "--no-browser", "--host", "203.0.113.1"]) == 2
    assert "an address of this machine" in messages()
