"""Simulated kills: the process stops at the k-th call that changes files, and never makes another one."""

import builtins
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from latentsdf.utils import atomic_files, safetensors_io

_DEAD_PROCESS = 2**22 + 7  # above the largest process id of Linux
_OS_CALLS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "symlink", "link", "truncate")


class Killed(BaseException):
    """Raised instead of a call, as if the process had been killed."""


class _Counter:
    """Counts calls that change files, and stops at one of them."""

    def __init__(self, last: int | None) -> None:
        self.count, self.last, self.dead = 0, last, False

    def call(self, real: Callable[..., Any], torn: Callable[[], None]) -> Callable[[], Any]:
        """Return a call to make; `torn` leaves behind what a call that was interrupted leaves."""
        if self.dead:
            raise Killed
        if self.count == self.last:
            self.dead = True
            torn()
            raise Killed
        self.count += 1
        return real


@contextmanager
def kill_at(number: int | None) -> Iterator[_Counter]:
    """Stop the process at a call that changes files.

    Args:
        number: Number of the call, from 0; None to count calls only.

    Yields:
        The counter of the calls.
    """
    counter = _Counter(number)
    with pytest.MonkeyPatch.context() as patch:

        def wrap(real: Callable[..., Any], torn: Callable[..., None] = lambda *_, **__: None) -> Callable[..., Any]:
            return lambda *args, **kwargs: counter.call(real, lambda: torn(*args, **kwargs))(*args, **kwargs)

        def raw_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
            if not flags & os.O_CREAT:
                return real_open(path, flags, *args, **kwargs)
            return counter.call(real_open, lambda: None)(path, flags, *args, **kwargs)

        def half_file(position: int) -> Callable[..., None]:
            def torn(*args: Any, **_: Any) -> None:
                Path(str(args[position])).write_bytes(b"half")

            return torn

        real_open = os.open
        for name in _OS_CALLS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        patch.setattr(os, "open", raw_open)
        real_save = safetensors.torch.save_file
        patch.setattr(safetensors_io, "save_file", wrap(real_save, half_file(1)))
        patch.setattr(builtins, "open", _plain_opening(counter, builtins.open))
        patch.setattr(io, "open", _plain_opening(counter, io.open))
        patch.setattr(torch, "save", wrap(torch.save, lambda _, path: _torn_torch(path)))
        with contextlib.suppress(ImportError):
            import faiss

            patch.setattr(faiss, "write_index", wrap(faiss.write_index, half_file(1)))
        patch.setattr(os, "getpid", lambda: _DEAD_PROCESS)
        patch.setattr(atomic_files, "_cleaned", set())
        with contextlib.suppress(Killed):
            yield counter


def _plain_opening(counter: _Counter, real: Callable[..., Any]) -> Callable[..., Any]:
    """Count a file opened for writing as one call, interrupted when it was emptied but not yet written."""

    def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real(file, mode, *args, **kwargs)
        call = counter.call(real, lambda: real(file, mode, *args, **kwargs).close())
        return call(file, mode, *args, **kwargs)

    return open_file


def _torn_torch(path: Any) -> None:
    if isinstance(path, str | os.PathLike):
        Path(path).write_bytes(b"half")
