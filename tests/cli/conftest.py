"""Fixtures of the command-line tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

import latentsdf as ls
from latentsdf.space import ShapeSpace


@pytest.fixture
def messages(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Function that returns the text printed on standard error since its last call, joined into one line."""
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="session")
def space(space_path: Path) -> ShapeSpace:
    """Space trained on the four tables."""
    return ls.load(space_path, device="cpu")
