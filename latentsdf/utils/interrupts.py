"""Ctrl-C between steps: the step that is under way ends and its result is kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

from latentsdf.utils.console import console


@contextmanager
def defer_interrupts() -> Iterator[Event]:
    """An event that Ctrl-C sets; a second Ctrl-C interrupts at once."""
    stopped = Event()
    if current_thread() is not main_thread():
        yield stopped
        return

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, previous)
        console.print("stopping after this step; Ctrl-C again to stop now")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, previous)
