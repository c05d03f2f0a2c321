"""Pipes and devices in place of files: refused at once, because reading them may never end."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from helpers.settings import SMALL_SAMPLING

from latentsdf.data.store import SampleStore
from latentsdf.training import checkpoint
from latentsdf.utils.errors import CheckpointError, StoreError
from latentsdf.utils.regular_files import regular_size


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Fail instead of waiting for the other end of a pipe."""

    def fail(*_: object) -> NoReturn:
        raise AssertionError("waits for a pipe")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def test_size_of_files(tmp_path: Path) -> None:
    """Files and links to files have a size; folders, pipes and devices have none."""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert regular_size(tmp_path / "file") == regular_size(tmp_path / "link") == 3
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ValueError, match="is not a file"):
            regular_size(path)
    with pytest.raises(FileNotFoundError):
        regular_size(tmp_path / "none")


@pytest.mark.parametrize("name", ["manifest.json", "shapes.json", "config.yaml"])
def test_pipe_in_a_space(name: str, space_path: Path, tmp_path: Path) -> None:
    """A space with a pipe in place of a file is damaged."""
    shutil.copytree(space_path, tmp_path / "space")
    (tmp_path / "space" / name).unlink()
    os.mkfifo(tmp_path / "space" / name)
    with pytest.raises(CheckpointError, match=rf"{name}|not a complete checkpoint"):
        checkpoint.load(tmp_path / "space")


def test_pipe_in_a_store(tmp_path: Path) -> None:
    """A store with a pipe in place of its metadata is none."""
    SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    (tmp_path / "s.zarr" / "zarr.json").unlink()
    os.mkfifo(tmp_path / "s.zarr" / "zarr.json")
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.open(tmp_path / "s.zarr")
