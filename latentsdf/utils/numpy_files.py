"""Reading of .npy and .npz files that may be damaged or hostile: sizes are checked before arrays are allocated."""

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_INFLATION = 1_100
"""Largest ratio of an array to its compressed form; Deflate reaches 1,032."""


def require_declared_size(file: Any, size: int) -> None:
    """Check the head of an array, from the start of its file, and leave the file behind the head.

    Args:
        file: The file, open for reading bytes.
        size: Its size in bytes.

    Raises:
        ValueError: The head is damaged, or declares another size than follows, or Python objects.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    declared = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError("it contains Python objects, which are not read")
    if declared != size - file.tell():
        raise ValueError(
            f"the head declares an array of shape {shape} with {declared:,} bytes, but {size - file.tell():,} follow; "
            "the file is damaged or truncated"
        )


def require_declared_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Check the heads of all arrays of a .npz file.

    Args:
        archive: The file.
        size: Its size in bytes.

    Raises:
        ValueError: As for `require_declared_size`, or the arrays are too large for the size of the file.
    """
    members = archive.infolist()
    if sum(member.file_size for member in members) > MAX_INFLATION * size:
        raise ValueError(f"its arrays are more than {MAX_INFLATION:,} times as large as the file; it is damaged")
    for member in members:
        with archive.open(member) as entry:
            require_declared_size(entry, member.file_size)


def parse_npy(data: bytes) -> NDArray[Any]:
    """Read the array of a .npy file.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        file = io.BytesIO(data)
        require_declared_size(file, len(data))
        file.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    # numpy's parser of heads raises exceptions of many types for damaged files.
    except Exception as error:
        raise ValueError(f"not an array written by numpy.save ({error!s:.120})") from error
    return array


def parse_npz(source: bytes | Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of a .npz file.

    Args:
        source: The file, or its content.
        names: Names of the arrays to read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or an array is missing.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            require_declared_sizes(archive, size)
        with np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in names}
    # Damaged archives and heads raise exceptions of many types.
    except Exception as error:
        raise ValueError(f"not a file of arrays written by numpy.savez ({error!s:.120})") from error


def names_in_npz(path: Path) -> set[str]:
    """Return the names of the arrays of a .npz file, without reading them; none if it is not a readable one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return set()
