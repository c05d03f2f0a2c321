"""Preprocessing without worker processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def tasks_in_this_process() -> Iterator[None]:
    """Preprocess in this process: starting a worker takes seconds, and only some tests are about workers."""
    from preprocessing.isolation import IsolatedProcesses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IsolatedProcesses, "run", lambda _self, _limits, fn, *args: fn(*args))
        yield
