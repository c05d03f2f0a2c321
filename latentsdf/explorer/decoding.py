"""Decoding for one visitor: a coarse preview while something is dragged, a fine result once it rests.

Requests replace each other: of those that arrive during a preview, only the last one is decoded. A fine result is begun
when no request has arrived for a while, and is cancelled by the next request. Each visitor has a session of their own;
`PriorityGate` lets the fine results of all visitors wait while any of them is dragging.
"""

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError

Request = TypeVar("Request")
Result = TypeVar("Result")
Check = Callable[[], None]
"""Called often during a long computation; raises `Cancelled` when its result is no longer wanted."""

COARSE_RESOLUTION = 64
"""Cells per axis of previews."""
FINE_RESOLUTION = 256
"""Cells per axis of fine results, by default."""
REST_SECONDS = 0.3
"""Time without requests after which the fine result is decoded."""
UNEXPECTED = "This did not work, for a reason that the page does not know; the terminal of the server shows it."
"""Sentence on the page about an error that is not a `LatentSDFError`."""
_POLL_SECONDS = 0.02


class Cancelled(Exception):
    """A computation ended early because its result is no longer wanted."""


class Priority(IntEnum):
    """Order of work that shares the processor."""

    PREVIEW = 0
    """Begins at once; several previews run at the same time."""
    FINE = 1
    """One at a time; pauses during previews."""
    BACKGROUND = 2
    """One at a time; pauses during previews and while fine work runs or waits."""


class PriorityGate:
    """Shares the processor between visitors: work pauses at its checks while there is more urgent work.

    Work pauses between evaluations of a field, so it does not end before more urgent work begins.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._present = Counter[Priority]()
        self._turns = {priority: threading.Lock() for priority in Priority}

    @contextmanager
    def work(self, priority: Priority, check: Check = lambda: None) -> Iterator[Check]:
        """Run work when it is its turn.

        Args:
            priority: Priority of the work.
            check: Raises `Cancelled` when the work is no longer wanted.

        Yields:
            The check to call often during the work; it also waits for more urgent work to end.

        Raises:
            Cancelled: By `check`, before the work begins.
        """
        self._count(priority, 1)
        try:
            if priority == Priority.PREVIEW:
                yield check
                return
            turn = self._turns[priority]
            while not turn.acquire(timeout=_POLL_SECONDS):
                check()
            try:
                self.pause(priority, check)
                yield lambda: self.pause(priority, check)
            finally:
                turn.release()
        finally:
            self._count(priority, -1)

    def pause(self, priority: Priority, check: Check) -> None:
        """Wait until no work of higher priority runs or waits; calls `check` meanwhile."""
        check()
        with self._changed:
            while any(self._present[other] for other in Priority if other < priority):
                self._changed.wait(_POLL_SECONDS)
                check()

    def _count(self, priority: Priority, amount: int) -> None:
        with self._changed:
            self._present[priority] += amount
            self._changed.notify_all()


@dataclass(frozen=True)
class Decoded(Generic[Request, Result]):
    """A result of a `DecodingSession`."""

    request: Request
    result: Result
    fine: bool
    """False for a preview."""
    seconds: float
    """Time it took to compute."""


class DecodingSession(Generic[Request, Result]):
    """Decodes the requests of one visitor in a thread of its own.

    Args:
        decode: Computes the result of a request; called with the request, True for the fine result, and a check to call
            often during fine results.
        show: Called with each result, in the thread of the session.
        fail: Called with a request and the message of the error that its decoding or showing raised.
        gate: Shared by all visitors.
        rest: Seconds without requests after which the fine result is decoded; None if previews are all there is.
    """

    def __init__(
        self,
        decode: Callable[[Request, bool, Check], Result],
        show: Callable[[Decoded[Request, Result]], None],
        fail: Callable[[Request, str], None],
        gate: PriorityGate,
        *,
        rest: float | None = REST_SECONDS,
    ) -> None:
        self._decode, self._show, self._fail, self._gate, self._rest = decode, show, fail, gate, rest
        self._changed = threading.Condition()
        self._wanted: Request | None = None
        self._number = 0
        self._closed = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="latentsdf-decoding", daemon=True)
        self._thread.start()

    def request(self, wanted: Request) -> None:
        """Replace the current request; returns at once."""
        with self._changed:
            self._wanted, self._busy = wanted, True
            self._number += 1
            self._changed.notify_all()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until the fine result of the last request has been shown; returns False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def close(self) -> None:
        """Cancel what is being computed and end the thread."""
        with self._changed:
            self._closed = True
            self._number += 1
            self._changed.notify_all()

    def _run(self) -> None:
        done = 0
        while True:
            self._wait_for_change(done, None)
            with self._changed:
                if self._closed:
                    return
                wanted, done = self._wanted, self._number
            assert wanted is not None
            if self._step(wanted, fine=False, number=done) and not self._wait_for_change(done, self._rest):
                self._step(wanted, fine=True, number=done)

    def _wait_for_change(self, number: int, timeout: float | None) -> bool:
        """Wait for another request than this one or the end of the session; returns False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._number != number, timeout)

    def _step(self, wanted: Request, *, fine: bool, number: int) -> bool:
        """Compute and show one result; returns False if there is nothing finer to compute for this request."""

        def check() -> None:
            if self._number != number:
                raise Cancelled

        started = time.monotonic()
        finished = fine or self._rest is None
        try:
            if fine:
                with self._gate.work(Priority.FINE, check) as paused:
                    result = self._decode(wanted, True, paused)
                check()
            else:
                with self._gate.work(Priority.PREVIEW) as nothing:
                    result = self._decode(wanted, False, nothing)
            self._show(Decoded(wanted, result, fine, time.monotonic() - started))
        except Cancelled:
            return False
        except LatentSDFError as error:
            finished = True
            self._fail(wanted, str(error))
        except Exception:  # the visitor goes on with another request
            finished = True
            console.print(traceback.format_exc(), markup=False)
            self._fail(wanted, UNEXPECTED)
        if finished:
            with self._changed:
                self._busy = self._number != number
                self._changed.notify_all()
        return not finished
