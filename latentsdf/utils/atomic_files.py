"""Atomic writes, and errors for full disks, read-only folders and outputs that are not files."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latentsdf.utils.errors import ConfigError, LatentSDFError, OutputError, StoreError
from latentsdf.utils.temporary_names import is_abandoned, temporary_name

_PREFIX = ".latentsdf~"
_SUFFIX = ".next"
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file exceeds the size limit of the process (ulimit -f) or of the file system",
}
_REFUSED = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "you have no permission to write there",
    errno.EPERM: "you have no permission to write there",
}
_LITTLE = 1 << 16  # bytes; a disk with less free space is full
_cleaned: set[Path] = set()  # folders whose abandoned files were removed, once per process


@contextmanager
def atomic_write(path: Path, *, keep_suffix: bool = False) -> Iterator[Path]:
    """Write a file so that readers see it complete or not at all.

    Symbolic links are not followed: a link at `path` is replaced by the file. Temporary files that killed processes
    left in the folder are removed.

    Args:
        path: Destination; an existing file is replaced, but nothing else. Its folder is created if missing.
        keep_suffix: Give the temporary path the suffix of the destination, for writers that select the format by it.

    Yields:
        Temporary path of an empty file in the same folder. It is renamed to `path` when the block ends, and removed if
        the block raises.

    Raises:
        ConfigError: The destination is a folder, a device, a pipe or a socket.
        OutputError: The disk is full, or the folder read-only.
    """
    require_file_output(path)
    _remove_abandoned(path.parent)
    temporary = path.with_name(temporary_name(_PREFIX) + _SUFFIX + (path.suffix if keep_suffix else ""))
    try:
        with full_disk_named(path):
            try:
                _create_empty(temporary)
            except FileNotFoundError:
                # Another command that failed may have removed the folder, which it had created and left empty.
                path.parent.mkdir(parents=True, exist_ok=True)
                _create_empty(temporary)
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Name the output in errors for a full disk, which libraries raise as exceptions of many types without its path.

    Args:
        path: File or folder that the block writes.

    Raises:
        OutputError: The block raises an error because the disk is full, a file too large, or the place of the output
            read-only; other errors pass.
    """
    try:
        yield
    except OutputError as error:
        if path not in error.path.parents:
            raise
        raise _output_error(path, error.reason) from error  # a file in the temporary folder of an artifact
    except LatentSDFError:
        raise
    except Exception as error:
        reason = _full_disk(error, path.parent) or _refusal(error, path)
        if reason is None:
            raise
        raise _output_error(path, reason) from error


def _create_empty(path: Path) -> None:
    # Exclusive, so that nothing is written through a link.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _output_error(path: Path, reason: str) -> OutputError:
    advice = "name another place" if reason in _REFUSED.values() else "make room and repeat, or name another place"
    error = OutputError(f"{path}: cannot be written, {reason}; {advice}")
    error.path, error.reason = path, reason
    return error


def _full_disk(error: BaseException, folder: Path) -> str | None:
    """Return why a disk or file has no room for an output; None if an error has another cause.

    Args:
        error: The error; other errors may have led to it.
        folder: Folder of the output.
    """
    cause: BaseException | None = error
    while cause is not None:
        for code, reason in _FULL.items():
            if (cause.errno == code) if isinstance(cause, OSError) else os.strerror(code) in str(cause):
                return reason
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError):
        return None
    # torch reports neither the code nor the text of the error.
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _LITTLE:
            return _FULL[errno.ENOSPC]
    return None


def _refusal(error: BaseException, output: Path) -> str | None:
    """Return why an output must not be written; None if an error has another cause, or concerns another file."""
    if not isinstance(error, OSError) or error.errno not in _REFUSED or error.filename is None:
        return None
    place = Path(os.fsdecode(error.filename))
    # The file that is refused may also be a temporary one beside the output, or a folder above it.
    concerned = place.parent == output.parent or output in place.parents or place in output.parents
    return _REFUSED[error.errno] if concerned else None


def require_file_output(path: Path) -> None:
    """Raise an error for an output file that would replace something else, such as /dev/null.

    Args:
        path: Destination, which need not exist.

    Raises:
        ConfigError: The destination is a folder, or a device, a pipe or a socket, or a link to one of these.
    """
    try:
        kind = path.stat().st_mode
    except OSError:  # nothing there, or a link without a target
        return
    if stat.S_ISDIR(kind) and not path.is_symlink():
        raise ConfigError(f"{path}: is a folder; name a file")
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise ConfigError(f"{path}: is a device, a pipe or a socket, which a file would replace; name another file")


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
    """Convert errors for a full disk, an exceeded quota or a read-only folder.

    Args:
        store: Path of the store, with which the error message starts.

    Raises:
        StoreError: The block raises such an OSError; other errors pass.
    """
    try:
        yield
    except OSError as error:
        refusal = _refusal(error, store)
        if refusal is not None:
            raise StoreError(f"{store}: cannot be written, {refusal}; name another store") from error
        reason = _full_disk(error, store.parent)
        if reason is None:
            raise
        raise StoreError(
            f"{store}: {reason}; shapes written before are complete, make room and run again to resume"
        ) from error
