"""Compilation by numba with a cache on disk that is keyed by all sources of a kernel.

numba's own cache is invalidated only by changes of the file that defines a kernel. Functions of other files are
compiled into a kernel as well, so after changes of those files the cache would return results of the old code. Here,
the name of the cache folder is a digest of the source of the kernel's module and of all modules of this package that it
imports, directly or indirectly.
"""

import hashlib
import inspect
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit

_PACKAGE = Path(__file__).parent.parent
_IMPORT = re.compile(rf"^from ({_PACKAGE.name}[.\w]*) import", re.MULTILINE)
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
            return njit(cache=bool(folder), **options)(inspect.unwrap(function))
        finally:
            config.CACHE_DIR = previous

    return decorate


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
