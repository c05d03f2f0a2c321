"""Handling of Ctrl-C in loops."""

import signal
from threading import Event, Thread

import pytest

from latentsdf.utils.interrupts import defer_interrupts


def test_event_of_first_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    """The first Ctrl-C sets the event, the second raises, and the previous handler is restored."""
    previous = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), defer_interrupts() as interrupted:
        assert not interrupted.is_set()
        signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is previous
    assert "stopping after this step" in capsys.readouterr().err


def test_restored_handler() -> None:
    """The previous handler is restored without an interrupt, too."""
    previous = signal.getsignal(signal.SIGINT)
    with defer_interrupts():
        assert signal.getsignal(signal.SIGINT) is not previous
    assert signal.getsignal(signal.SIGINT) is previous


def test_other_threads() -> None:
    """Outside the main thread, where handlers cannot be installed, the event exists but is never set."""
    events: list[Event] = []

    def loop() -> None:
        with defer_interrupts() as interrupted:
            events.append(interrupted)

    thread = Thread(target=loop)
    thread.start()
    thread.join()
    assert len(events) == 1 and not events[0].is_set()
