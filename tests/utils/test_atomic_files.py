"""Atomic writes, and errors for full disks."""

import errno
from pathlib import Path

import pytest

from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import StoreError


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
