"""Fixtures of the command-line tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

import latentsdf as ls
from latentsdf.space import ShapeSpace


@pytest.fixture
def messages(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """A function that returns what was printed on standard error since its last call, in one line."""
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="session")
def space(space_path: Path) -> ShapeSpace:
    """The space trained on the four tables."""
    return ls.load(space_path, device="cpu")
