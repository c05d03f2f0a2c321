"""Atomic writes, and errors for full disks."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentsdf.utils.errors import StoreError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file so that readers see it complete or not at all.

    Args:
        path: Destination; an existing file is replaced.

    Yields:
        Temporary path in the same folder. It is renamed to `path` when the block ends, and removed if the block raises.
    """
    temporary = path.with_name(f".{path.name}.next")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
