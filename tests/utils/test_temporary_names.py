"""Owners of temporary names."""

import os
import socket

import pytest

from latentsdf.utils.temporary_names import is_abandoned, temporary_name

HOST = socket.gethostname()


def test_names_of_this_process() -> None:
    """Names differ, start with their prefix and belong to this process as long as it runs."""
    first, second = temporary_name(".next~"), temporary_name(".next~")
    assert first != second and first.startswith(f".next~{HOST}~{os.getpid()}~")
    assert not is_abandoned(first, ".next~") and not is_abandoned(temporary_name())


@pytest.mark.parametrize(
    ("error", "abandoned"), [(ProcessLookupError, True), (OverflowError, True), (PermissionError, False)]
)
def test_process_that_cannot_be_reached(
    error: type[Exception], abandoned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has ended if there is none, but not if it belongs to somebody else; signal 0 harms none."""
    signals: list[tuple[int, int]] = []

    def kill(process: int, signal: int) -> None:
        signals.append((process, signal))
        raise error

    monkeypatch.setattr(os, "kill", kill)
    assert is_abandoned(f"{HOST}~77~0a") is abandoned and signals == [(77, 0)]


def test_process_of_another_machine() -> None:
    """Nothing is known of processes elsewhere, so that their names stay."""
    assert not is_abandoned(f"not-{HOST}~77~0a")


@pytest.mark.parametrize(
    "name", ["", "a", f"{HOST}~~0a", f"{HOST}~x~0a", f"{HOST}~-1~0a", f"{HOST}~²~0a", f"{HOST}~٣~0a"]
)
def test_other_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of another form have no owner, and no process is signalled."""
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was signalled"))
    assert is_abandoned(name)
