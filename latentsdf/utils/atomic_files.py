"""Files that appear whole or not at all, and a full disk that is called by its name."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentsdf.utils.errors import StoreError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: renamed to it when the block ends well, removed when it does not."""
    aside = path.with_name(f".{path.name}.next")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def disk_full_as_store_error(store: Path) -> Iterator[None]:
    """Within the block, an OSError for a full disk or quota becomes a StoreError that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{store}: the disk is full; shapes written before are complete, free space and run again to resume"
            ) from error
        raise
