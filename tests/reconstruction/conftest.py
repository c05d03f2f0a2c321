"""Fixtures of the tests of reconstruction."""

import pytest

from latentsdf.reconstruction import history


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Average losses over 10 steps instead of 100."""
    monkeypatch.setattr(history, "WINDOW_STEPS", 10)
