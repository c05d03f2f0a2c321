"""Interpolations and samples as images, animations or meshes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.cli import frame_output
from latentsdf.utils.errors import ConfigError


def test_frames_of_longer_path(tmp_path: Path) -> None:
    """Meshes of an earlier, longer path are removed."""
    for count in (3, 2):
        frame_output.write(tmp_path, np.zeros((count, 8)), count * [trimesh.creation.box()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.npy", "frame_000.glb", "frame_001.glb"]


def test_output_formats(tmp_path: Path) -> None:
    """Only .png, .gif and folders can be written; the folder is created."""
    with pytest.raises(ConfigError, match="frames are written to a .png"):
        frame_output.require_writable(tmp_path / "frames.txt")
    for name in ("new/strip.png", "new/loop.gif", "meshes"):
        frame_output.require_writable(tmp_path / name)
    assert (tmp_path / "new").is_dir() and (tmp_path / "meshes").is_dir()
