"""Compilation by numba with a cache on disk that is keyed by all sources of a kernel.

numba's own cache is invalidated only by changes of the file that defines a kernel. Functions of other files are
compiled into a kernel as well, so after changes of those files the cache would return results of the old code. Here,
the name of the cache folder is a digest of the source of the kernel's module and of all modules of this package that it
imports, directly or indirectly.
"""

import glob
import hashlib
import inspect
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from numba import config, njit
from numba.core import event

_PACKAGE = Path(__file__).parent.parent
_IMPORT = re.compile(rf"^from ({_PACKAGE.name}[.\w]*) import", re.MULTILINE)
_QUIET_SECONDS = 2.0  # of compilation before it is announced
_kernels: list[Any] = []
_MAX_AGE = 7 * 86_400  # seconds after which unused folders are deleted; a running process may still use younger ones


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like `numba.njit`, with a cache that is keyed by all sources of the kernel.

    Args:
        options: Options of `numba.njit`, except `cache`.

    Returns:
        Decorator. Kernels are compiled in every process if no cache folder is writable.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        folder = cache_folder(source_digest(source_file(function.__module__)))
        previous = config.CACHE_DIR
        config.CACHE_DIR = folder
        try:
            # Shape checks that an import hook wraps around functions in tests cannot be compiled.
            kernel = njit(cache=bool(folder), **options)(inspect.unwrap(function))
        finally:
            config.CACHE_DIR = previous
        _kernels.append(kernel)
        return kernel

    return decorate


def kernels() -> list[Any]:
    """Return the kernels of all modules that have been imported."""
    return list(_kernels)


def is_compiled(kernel: Any) -> bool:
    """Return True if a kernel was compiled in this process, or earlier with a result in the cache folder."""
    if kernel.signatures:
        return True
    folder, function = kernel.stats.cache_path, kernel.py_func
    if folder is None:
        return False
    name = f"{glob.escape(function.__qualname__)}-{function.__code__.co_firstlineno}.*.nbi"
    return any(Path(folder).glob(f"*{name}"))


@contextmanager
def when_compiled(call: Callable[[Any], None]) -> Iterator[None]:
    """Call a function with each kernel of this package that is compiled while the block runs, after its compilation.

    Kernels that are loaded from the cache are not reported.
    """
    listener = _Listener(call)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


class _Listener(event.Listener):  # type: ignore[misc]
    """Calls a function with each compiled kernel."""

    def __init__(self, call: Callable[[Any], None]) -> None:
        self.call = call

    def on_start(self, event: Any) -> None:
        """Called before a compilation."""

    def on_end(self, event: Any) -> None:
        """Called after a compilation."""
        self.call(event.data["dispatcher"])


class _Announcement(event.Listener):  # type: ignore[misc]
    """Prints a note, once per process, when compilation takes long."""

    def __init__(self) -> None:
        self.depth, self.started, self.seconds, self.is_announced = 0, 0.0, 0.0, False

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        """Called before a compilation; kernels that a kernel calls are compiled within it."""
        if self.depth == 0:
            self.started = time.monotonic()
        self.depth += 1

    def on_end(self, event: Any) -> None:  # noqa: ARG002
        """Called after a compilation."""
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.monotonic() - self.started
            if self.seconds > _QUIET_SECONDS and not self.is_announced:
                self.is_announced = True
                from latentsdf.utils.console import show_note

                show_note("compiling", "kernels for this machine, once; latentsdf doctor --compile does it ahead")


if parent_process() is None:  # workers would all say the same
    event.register("numba:compile", _Announcement())


def source_file(module: str) -> Path:
    """Return the source file of a module of this package, given its full name."""
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def source_digest(path: Path) -> str:
    """Return a digest of a source file and of all modules of this package that it imports, directly or indirectly."""
    visited: set[Path] = set()
    pending = [path]
    while pending:
        file = pending.pop()
        if file not in visited:
            visited.add(file)
            pending += [source_file(name) for name in _IMPORT.findall(file.read_text(encoding="utf-8"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(visited))).hexdigest()[:16]


@cache
def cache_folder(digest: str) -> str:
    """Create the cache folder of a digest and delete folders that were not used for a week.

    Args:
        digest: Result of `source_digest`.

    Returns:
        Path below the first writable of NUMBA_CACHE_DIR, the package's `__pycache__` and the user's cache folder; ''
        if none is writable.
    """
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _PACKAGE.name
    for base in (config.CACHE_DIR, _PACKAGE / "__pycache__", user_cache):
        if base:
            folder = Path(base) / f"{_PACKAGE.name}-{digest}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _delete_unused_folders(folder)
            except OSError:
                continue
            if os.access(folder, os.W_OK):
                return str(folder)
    return ""


def _delete_unused_folders(folder: Path) -> None:
    os.utime(folder)
    for other in folder.parent.glob(f"{_PACKAGE.name}-*"):
        with suppress(OSError):  # another process may delete it at the same time
            if other.stat().st_mtime < time.time() - _MAX_AGE:
                shutil.rmtree(other)
