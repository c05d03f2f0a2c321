"""Atomic writes, and errors for full disks."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from latentsdf.utils import atomic_files
from latentsdf.utils.artifacts import write_artifact
from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import ConfigError, OutputError, StoreError


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


def test_folder_that_was_removed(tmp_path: Path) -> None:
    """An output folder that another command created, left empty and removed again is created again."""
    path = tmp_path / "images" / "2.png"
    with atomic_write(path) as temporary:
        temporary.write_text("image")
    assert path.read_text() == "image" and list(path.parent.iterdir()) == [path]


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


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota is used up"), (errno.EFBIG, "exceeds the size limit")],
)
def test_disk_full(code: int, reason: str) -> None:
    """A full disk, an exceeded quota and a file too large become a StoreError with advice."""
    with (
        pytest.raises(StoreError, match=rf"s\.zarr: .*{reason}.*; .* make room and run again to resume"),
        disk_full_as_store_error(Path("s.zarr")),
    ):
        raise OSError(code, "full")


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.EROFS, "the file system is read-only"), (errno.EACCES, "you have no permission")]
)
def test_read_only_folder(code: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, an artifact or a store that must not be written is named, with advice; other files are not."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    file, folder = tmp_path / "a" / "x.png", tmp_path / "fit"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(OutputError, match=f"{reason}.*; name another place") as caught, atomic_write(file):
            pass
        assert str(caught.value).startswith(f"{file}: cannot be written")
        with pytest.raises(OutputError, match=reason) as caught, write_artifact(folder, "fit", ("mesh.ply",)):
            pass
        assert str(caught.value).startswith(f"{folder}: cannot be written")
    for place in ("s.zarr/shapes/a", "s.zarr/tmp/x", "s.zarr", ""):
        with (
            pytest.raises(StoreError, match=rf"^{tmp_path}/s\.zarr: .*{reason}.*; name another store"),
            disk_full_as_store_error(tmp_path / "s.zarr"),
        ):
            refuse(tmp_path / place)
    for other in (tmp_path / "inputs" / "x.obj", Path("/elsewhere/x.obj")):
        with pytest.raises(OSError, match="x.obj") as error, disk_full_as_store_error(tmp_path / "s.zarr"):
            refuse(other)
        assert not isinstance(error.value, StoreError)


def test_other_errors() -> None:
    """Other errors pass unchanged."""
    with pytest.raises(PermissionError), disk_full_as_store_error(Path("s.zarr")):
        raise PermissionError(errno.EACCES, "denied")


def _chained() -> None:
    try:
        raise OSError(errno.ENOSPC, "full")
    except OSError:
        raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - as torch does


def _message() -> None:
    raise RuntimeError("I/O error: No space left on device (os error 28)")


def _silent() -> None:
    raise RuntimeError("unexpected pos 64 vs 0")


@pytest.mark.parametrize(("fail", "free"), [(_chained, 1 << 30), (_message, 1 << 30), (_silent, 0)])
def test_full_disk_in_libraries(
    fail: Callable[[], None], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's error for a full disk, whatever its type, names the destination, and no temporary file remains."""
    monkeypatch.setattr(atomic_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    path = tmp_path / "weights.bin"
    with pytest.raises(OutputError, match="written, the disk is full; make room") as caught, atomic_write(path):
        fail()
    assert str(caught.value).startswith(f"{path}: ") and not list(tmp_path.iterdir())
    monkeypatch.setattr(atomic_files.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(RuntimeError, match="unexpected pos"), atomic_write(path):
        _silent()


def test_full_disk_in_artifact(tmp_path: Path) -> None:
    """The error names the folder of the artifact, not the temporary file in it."""
    with (
        pytest.raises(OutputError, match="cannot be written, the disk is full") as caught,
        write_artifact(tmp_path / "fit", "fit", ("mesh.ply",)) as staged,
        atomic_write(staged / "mesh.ply"),
    ):
        raise OSError(errno.ENOSPC, "full")
    assert str(caught.value).startswith(f"{tmp_path / 'fit'}: ") and caught.value.path == tmp_path / "fit"
    assert not list((tmp_path / "fit").iterdir())
