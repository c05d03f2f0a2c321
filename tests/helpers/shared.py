"""Files that several test processes share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Return a file or folder that the first test process in need of it builds, for all of them.

    Args:
        factory: The fixture `tmp_path_factory`.
        name: Name of the file or folder.
        build: Writes it to the path that it is given.

    Returns:
        Path of the result, which is not to be modified.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    path = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            unfinished = folder / "unfinished" / name
            build(unfinished)
            unfinished.rename(path)
    return path
