"""Fixtures of the command-line tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.settings import small_config
from helpers.training import save_untrained


@pytest.fixture
def messages(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Function that returns the text printed on standard error since its last call, joined into one line."""
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with an untrained space, `space`, and a binary file, `file`."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"\x89\xff\x00")
    save_untrained(Path("space"), small_config())
    return tmp_path
