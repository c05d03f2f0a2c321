"""Settings of glibc's memory allocator."""

import ctypes

import pytest

from latentsdf.utils.malloc import keep_freed_memory


def test_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thresholds for mmap and trim are raised to 32 MiB and 2 GiB - 1."""
    calls: list[tuple[int, int]] = []

    class Library:
        def __init__(self, _: str) -> None:
            self.mallopt = lambda *arguments: calls.append(arguments)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    keep_freed_memory()
    assert calls == [(-3, 32 * 1024**2), (-1, 2**31 - 1)]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_other_libraries(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems without glibc or without mallopt are left unchanged."""

    def missing(_: str) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()
