"""What the C library does with freed memory."""

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks for the next step instead of returning them to the system; elsewhere, nothing.

    Tensors of a step are a few MB each, which glibc maps and unmaps one by one: the page faults took a quarter of a
    training step (measured, two cores).
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
