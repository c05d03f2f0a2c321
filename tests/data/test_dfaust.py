"""Tests of the D-FAUST reader: frame ids, geometry of a frame, invalid frames."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from latentsdf.data.dfaust import find_frames, load_frame
from latentsdf.utils.errors import ConfigError, MeshError


def test_frame_ids(registrations: Path) -> None:
    """Ids name the sequence and every `step`-th frame, sorted."""
    ids = find_frames(registrations, 2)
    assert len(ids) == 13 + 2 and ids == sorted(ids) and ids[1] == "50002_jumping_jacks_00002"
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        find_frames(registrations, 0)


def test_geometry_of_frame(registrations: Path) -> None:
    """A frame has the vertices of its column of the sequence and the common faces."""
    mesh = load_frame(registrations, "50002_jumping_jacks_00004")
    assert mesh.is_watertight and mesh.volume == pytest.approx(6 * 5**3)
    np.testing.assert_allclose(mesh.bounds.mean(0), 5)
    for id in ("50002_jumping_jacks_00025", "50002_jumping_jacks_x", "faces_00000", "50009_00000"):
        with pytest.raises(MeshError, match=f"has no frame '{id}'"):
            load_frame(registrations, id)


def test_exported_samples_as_registrations(registrations: Path) -> None:
    """A file of samples is rejected with the command that reads it."""
    with h5py.File(registrations, "a") as file:
        file.attrs["format"] = "latentsdf-samples"
    with pytest.raises(MeshError, match="read it with latentsdf import"):
        find_frames(registrations, 1)
