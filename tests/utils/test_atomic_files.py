"""Atomic writes, and errors for full disks."""

import errno
import os
import stat
from pathlib import Path

import pytest

from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import ConfigError, StoreError


def test_complete_write(tmp_path: Path) -> None:
    """The destination keeps its old content until the block ends, and no temporary file remains."""
    path = tmp_path / "report.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_failed_write(tmp_path: Path) -> None:
    """After an error the destination is unchanged and the temporary file is removed."""
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="interrupted"), atomic_write(path) as temporary:
        temporary.write_text("partial")
        raise RuntimeError("interrupted")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("linked", [False, True])
def test_outputs_that_are_not_files(linked: bool, tmp_path: Path) -> None:
    """A pipe, or a link to one, as /dev/stdout may be, is not replaced by a file; nor is a folder."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        (tmp_path / "link").symlink_to(pipe)
        pipe = tmp_path / "link"
    with pytest.raises(ConfigError, match="is a device, a pipe or a socket"), atomic_write(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(ConfigError, match="is a folder"), atomic_write(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_full(code: int) -> None:
    """A full disk and an exceeded quota become a StoreError with advice."""
    with (
        pytest.raises(StoreError, match=r"s\.zarr: the disk is full; .* free space and run again to resume"),
        disk_full_as_store_error(Path("s.zarr")),
    ):
        raise OSError(code, "full")


def test_other_errors() -> None:
    """Other errors pass unchanged."""
    with pytest.raises(PermissionError), disk_full_as_store_error(Path("s.zarr")):
        raise PermissionError(errno.EACCES, "denied")
