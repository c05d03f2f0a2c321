"""Names of temporary files and folders, from which later processes see that their owner has ended.

A name is <prefix><host>~<process id>~<random>.
"""

import os
import socket
import uuid


def temporary_name(prefix: str = "") -> str:
    """Return a new name that belongs to this process."""
    return f"{prefix}{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex}"


def is_abandoned(name: str, prefix: str = "") -> bool:
    """Return whether the process that made this name ran on this machine and has ended.

    Args:
        name: Name of a file or folder; one that `temporary_name` did not make counts as abandoned.
        prefix: The prefix of the name.
    """
    host, _, rest = name.removeprefix(prefix).partition("~")
    process = rest.partition("~")[0]
    if not (process.isascii() and process.isdecimal()):
        return True
    if host != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
