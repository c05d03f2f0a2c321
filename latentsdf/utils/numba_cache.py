"""numba's `njit` with a cache that knows what a kernel was compiled from.

numba keeps compiled code as long as the kernel's own file stays the same, although code of other files is compiled into
it: after an update of those, results of the old code would come back. Here the cache's folder is named by the source of
the kernel's module and of all modules of this package that it imports.
"""

import hashlib
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
_KEPT = 7 * 86_400  # seconds for which folders of other sources stay; a process may still use them


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: `njit(cache=True, **options)`, compiled again when anything changes that the kernel may contain."""

    def decorate(function: Callable[..., Any]) -> Any:
        folder = cache_folder(source_digest(source_of(function.__module__)))
        before = config.CACHE_DIR
        config.CACHE_DIR = folder
        try:
            return njit(cache=bool(folder), **options)(function)
        finally:
            config.CACHE_DIR = before

    return decorate


def source_of(module: str) -> Path:
    """The file of a module of this package."""
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def source_digest(path: Path) -> str:
    """A name for the text of a file and of what it imports of this package, directly or not."""
    found: set[Path] = set()
    left = [path]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += [source_of(name) for name in _IMPORT.findall(one.read_text(encoding="utf-8"))]
    return hashlib.sha256(b"".join(one.read_bytes() for one in sorted(found))).hexdigest()[:16]


@cache
def cache_folder(digest: str) -> str:
    """A folder that can be written: where NUMBA_CACHE_DIR says, beside the package, or of the user; '' if none."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _PACKAGE.name
    for base in (config.CACHE_DIR, _PACKAGE / "__pycache__", user):
        if base:
            folder = Path(base) / f"{_PACKAGE.name}-{digest}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _forget_old(folder)
            except OSError:
                continue
            if os.access(folder, os.W_OK):
                return str(folder)
    return ""


def _forget_old(folder: Path) -> None:
    os.utime(folder)
    for other in folder.parent.glob(f"{_PACKAGE.name}-*"):
        with suppress(OSError):  # another process may be doing the same
            if other.stat().st_mtime < time.time() - _KEPT:
                shutil.rmtree(other)
