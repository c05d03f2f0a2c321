"""Fixtures of the tests of sharing."""

from collections.abc import Callable

import pytest


@pytest.fixture
def messages(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Function that returns the text printed on standard error since its last call, joined into one line."""
    return lambda: " ".join(capsys.readouterr().err.split())
