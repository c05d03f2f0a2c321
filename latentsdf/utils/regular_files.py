"""Check that untrusted paths are files: reading a pipe or a device may never end."""

import os
import stat
from pathlib import Path


def regular_size(path: Path) -> int:
    """Return the size of a file in bytes.

    Args:
        path: The file, or a link to it.

    Raises:
        FileNotFoundError: There is nothing.
        ValueError: It is a folder, a device, a pipe or a socket.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a file, but a folder, a device, a pipe or a socket")
    return status.st_size
