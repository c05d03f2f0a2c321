"""Atomic writes, and errors for full disks."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentsdf.utils.errors import StoreError
from latentsdf.utils.temporary_names import is_abandoned, temporary_name

_PREFIX = ".latentsdf~"
_SUFFIX = ".next"
_cleaned: set[Path] = set()  # folders whose abandoned files were removed, once per process


@contextmanager
def atomic_write(path: Path, *, keep_suffix: bool = False) -> Iterator[Path]:
    """Write a file so that readers see it complete or not at all.

    Symbolic links are not followed: a link at `path` is replaced by the file. Temporary files that killed processes
    left in the folder are removed.

    Args:
        path: Destination; an existing file is replaced.
        keep_suffix: Give the temporary path the suffix of the destination, for writers that select the format by it.

    Yields:
        Temporary path of an empty file in the same folder. It is renamed to `path` when the block ends, and removed if
        the block raises.
    """
    _remove_abandoned(path.parent)
    temporary = path.with_name(temporary_name(_PREFIX) + _SUFFIX + (path.suffix if keep_suffix else ""))
    try:
        # Exclusive, so that nothing is written through a link.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files of ended processes."""
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    with suppress(OSError):
        for file in folder.glob(f"{_PREFIX}*"):
            if is_abandoned(file.name, _PREFIX):
                file.unlink(missing_ok=True)


@contextmanager
def disk_full_as_store_error(store: Path) -> Iterator[None]:
    """Convert errors for a full disk or an exceeded quota.

    Args:
        store: Path of the store, with which the error message starts.

    Raises:
        StoreError: The block raises such an OSError; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{store}: the disk is full; shapes written before are complete, free space and run again to resume"
            ) from error
        raise
