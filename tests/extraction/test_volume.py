"""Volumes: distances of a sphere at the stated positions, in a moved, scaled and rotated frame."""

from pathlib import Path

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.extraction.volume import sample_volume
from latentsdf.geometry.similarity import IDENTITY, Similarity


@pytest.mark.parametrize("yaw", [0.0, 0.4])
def test_volume_of_a_sphere(yaw: float, tmp_path: Path) -> None:
    """Every vertex holds the distance to the sphere in the user's frame, and the lattice covers the box."""
    way = Similarity((1.0, 2.0, 3.0), 0.5, yaw)
    sample_volume(lambda x: x.norm(dim=1) - 0.5, way, 8).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        distance, origin, spacing = file["distance"], file["origin"], float(file["spacing"])
        assert str(file["frame"]) == "shape"
    assert spacing == pytest.approx(0.5) and distance.dtype == np.float32
    if yaw == 0:
        assert distance.shape == (9, 9, 9) and origin.tolist() == [-1.0, 0.0, 1.0]
    position = origin + spacing * np.stack(np.indices(distance.shape), axis=-1)
    np.testing.assert_allclose(distance, np.linalg.norm(position - (1, 2, 3), axis=-1) - 1, atol=1e-5)
    corners = way.to_user(np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float))
    last = position[-1, -1, -1]
    assert (corners >= origin - 1e-9).all() and (corners <= last + 1e-6).all()


def test_resolution_out_of_range() -> None:
    """The error states the range."""
    with pytest.raises(ls.ConfigError, match="resolution of 2 to 1024 cells, got 1"):
        sample_volume(lambda x: x.norm(dim=1), IDENTITY, 1)
