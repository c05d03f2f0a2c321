"""File object for HDF5, which may end the process if a write fails: on a full disk, or at a quota or size limit."""

import io
from pathlib import Path
from typing import Any


class HDF5Output(io.FileIO):
    """New file that keeps the first error of writing until it is asked for, so that HDF5 never sees one.

    HDF5 writes what it holds in memory when a file is closed or an object is garbage collected. If that fails, the
    remaining objects are in a state in which the library crashes. After an error, this file accepts everything and
    writes nothing.

    Args:
        path: The file, which is emptied if it exists.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of writing, an OSError, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of `data`, an object with the buffer protocol; returns its size in bytes."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self._error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file in bytes and return it."""
        try:
            if self._error is None:
                return super().truncate(size)
        except OSError as error:
            self._error = error
        return 0 if size is None else size
