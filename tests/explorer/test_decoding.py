"""Previews and fine results of a visitor, and the order of work between visitors."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from latentsdf.explorer.decoding import UNEXPECTED, Cancelled, Check, Decoded, DecodingSession, Priority, PriorityGate
from latentsdf.utils.errors import EmptyLevelSetError

_TIMEOUT = 20.0


class Recorder:
    """Decodes requests to their text, and records what is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, bool]] = []
        self.failed: list[str] = []
        self.begun: list[tuple[str, bool]] = []
        self.work: Callable[[str, bool, Check], None] = lambda *_: None
        self.fine_began = threading.Event()

    def decode(self, request: str, fine: bool, check: Check) -> str:
        """Record the request, and do the work of the test."""
        self.begun.append((request, fine))
        if fine:
            self.fine_began.set()
        self.work(request, fine, check)
        return request

    def show(self, decoded: Decoded[str, str]) -> None:
        """Record a result."""
        assert decoded.seconds >= 0
        self.shown.append((decoded.result, decoded.fine))

    def fail(self, request: str, message: str) -> None:
        """Record an error."""
        self.failed.append(f"{request}: {message}")


@pytest.fixture
def recorder() -> Recorder:
    """Recorder of one session."""
    return Recorder()


@pytest.fixture
def session(recorder: Recorder) -> Iterator[DecodingSession[str, str]]:
    """Session that begins the fine result after 20 ms."""
    with_gate = DecodingSession(recorder.decode, recorder.show, recorder.fail, PriorityGate(), rest=0.02)
    yield with_gate
    with_gate.close()


def test_preview_then_fine_result(session: DecodingSession[str, str], recorder: Recorder) -> None:
    """A request is decoded twice."""
    session.request("a")
    assert session.wait_until_idle(_TIMEOUT)
    assert recorder.shown == [("a", False), ("a", True)]


def test_only_the_last_of_requests_during_a_preview(session: DecodingSession[str, str], recorder: Recorder) -> None:
    """Requests that arrive during a preview replace each other."""
    entered, leave = threading.Event(), threading.Event()

    def block(request: str, fine: bool, _: Check) -> None:
        if request == "a" and not fine:
            entered.set()
            assert leave.wait(_TIMEOUT)

    recorder.work = block
    session.request("a")
    assert entered.wait(_TIMEOUT)
    for request in "bcd":
        session.request(request)
    leave.set()
    assert session.wait_until_idle(_TIMEOUT)
    assert recorder.shown == [("a", False), ("d", False), ("d", True)]


def test_request_cancels_a_fine_result(session: DecodingSession[str, str], recorder: Recorder) -> None:
    """The check of a fine result raises once there is another request."""
    cancelled = threading.Event()

    def until_cancelled(request: str, fine: bool, check: Check) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while request == "a" and fine and time.monotonic() < deadline:
            try:
                check()
            except Cancelled:
                cancelled.set()
                raise
            time.sleep(0.001)

    recorder.work = until_cancelled
    session.request("a")
    assert recorder.fine_began.wait(_TIMEOUT)
    session.request("b")
    assert session.wait_until_idle(_TIMEOUT)
    assert cancelled.is_set()
    assert recorder.shown == [("a", False), ("b", False), ("b", True)]


def test_fine_result_that_ends_after_a_request_is_not_shown(
    session: DecodingSession[str, str], recorder: Recorder
) -> None:
    """A computation without checks is outrun by the next request."""
    leave = threading.Event()

    def without_checks(request: str, fine: bool, _: Check) -> None:
        if request == "a" and fine:
            assert leave.wait(_TIMEOUT)

    recorder.work = without_checks
    session.request("a")
    assert recorder.fine_began.wait(_TIMEOUT)
    session.request("b")
    leave.set()
    assert session.wait_until_idle(_TIMEOUT)
    assert ("a", True) not in recorder.shown


def test_errors_are_reported_and_the_session_continues(session: DecodingSession[str, str], recorder: Recorder) -> None:
    """An error ends its request only, without a fine result."""

    def no_surface(request: str, *_: object) -> None:
        if request == "a":
            raise EmptyLevelSetError("no surface")

    recorder.work = no_surface
    session.request("a")
    assert session.wait_until_idle(_TIMEOUT)
    session.request("b")
    assert session.wait_until_idle(_TIMEOUT)
    assert recorder.failed == ["a: no surface"]
    assert recorder.shown == [("b", False), ("b", True)]


def test_unexpected_errors_are_reported_and_the_session_continues(
    session: DecodingSession[str, str], recorder: Recorder
) -> None:
    """A mistake in decoding costs one picture, not the page."""

    def mistake(request: str, *_: object) -> None:
        if request == "a":
            raise ZeroDivisionError

    recorder.work = mistake
    session.request("a")
    assert session.wait_until_idle(_TIMEOUT)
    session.request("b")
    assert session.wait_until_idle(_TIMEOUT)
    assert recorder.failed == [f"a: {UNEXPECTED}"]
    assert recorder.shown == [("b", False), ("b", True)]


def test_close_cancels_and_ends_the_thread(recorder: Recorder) -> None:
    """A visitor who leaves does not keep a thread."""
    session = DecodingSession(recorder.decode, recorder.show, recorder.fail, PriorityGate(), rest=0.0)
    ended = threading.Event()

    def until_cancelled(_: str, fine: bool, check: Check) -> None:
        while fine:
            try:
                check()
            except Cancelled:
                ended.set()
                raise
            time.sleep(0.001)

    recorder.work = until_cancelled
    session.request("a")
    assert recorder.fine_began.wait(_TIMEOUT)
    session.close()
    assert ended.wait(_TIMEOUT)
    session._thread.join(_TIMEOUT)
    assert not session._thread.is_alive()


def test_previews_only(recorder: Recorder) -> None:
    """Without a rest there is no fine result."""
    session = DecodingSession(recorder.decode, recorder.show, recorder.fail, PriorityGate(), rest=None)
    session.request("a")
    assert session.wait_until_idle(_TIMEOUT)
    session.close()
    assert recorder.shown == [("a", False)]


@pytest.mark.parametrize("urgent", [Priority.PREVIEW, Priority.FINE])
def test_work_waits_for_more_urgent_work(urgent: Priority) -> None:
    """Work in the background begins only when neither previews nor fine results are computed."""
    gate, passed = PriorityGate(), threading.Event()

    def work() -> None:
        with gate.work(Priority.BACKGROUND):
            passed.set()

    with gate.work(urgent):
        thread = threading.Thread(target=work)
        thread.start()
        assert not passed.wait(0.1)
    assert passed.wait(_TIMEOUT)
    thread.join()


def test_work_pauses_at_its_checks() -> None:
    """A check does not return while a preview runs."""
    gate, began, passed = PriorityGate(), threading.Event(), threading.Event()
    proceed = threading.Event()

    def work() -> None:
        with gate.work(Priority.FINE) as check:
            began.set()
            assert proceed.wait(_TIMEOUT)
            check()
            passed.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(_TIMEOUT)
    with gate.work(Priority.PREVIEW):
        proceed.set()
        assert not passed.wait(0.1)
    assert passed.wait(_TIMEOUT)
    thread.join()


def test_fine_work_runs_one_at_a_time_and_can_be_cancelled_while_it_waits() -> None:
    """Waiting for the turn ends by the check, and leaves the gate open for the next."""
    gate = PriorityGate()

    def unwanted() -> None:
        raise Cancelled

    with gate.work(Priority.FINE), pytest.raises(Cancelled), gate.work(Priority.FINE, unwanted):
        pytest.fail("began although other work was running")
    with gate.work(Priority.BACKGROUND):
        pass
