"""Progress of long computations for callers that show it themselves, such as a page in the browser."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ProgressListener = Callable[[str, float], None]
"""Called with the description of a task and the share of it that is done, 0 to 1. An exception that it raises ends the
computation."""

_listener: ContextVar[ProgressListener | None] = ContextVar("progress_listener", default=None)


@contextmanager
def listen_to_progress(listener: ProgressListener) -> Iterator[None]:
    """Pass the progress of this thread's computations to a listener instead of the console while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def progress_listener() -> ProgressListener | None:
    """Return the listener of this thread, or None."""
    return _listener.get()
