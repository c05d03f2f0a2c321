"""Graceful handling of Ctrl-C (SIGINT) in loops."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

from latentsdf.utils.console import console


@contextmanager
def defer_interrupts() -> Iterator[Event]:
    """Set an event on the first Ctrl-C, so that a loop can finish its step; a second Ctrl-C interrupts at once.

    The previous signal handler is restored when the block ends. Only the main thread of a process receives signals; in
    other threads the event is never set.

    Yields:
        Event to check between steps.
    """
    interrupted = Event()
    if current_thread() is not main_thread():
        yield interrupted
        return

    def handle(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)
        console.print("stopping after this step; Ctrl-C again to stop now")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
