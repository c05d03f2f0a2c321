"""Screened Poisson reconstruction by Open3D."""

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.screened_poisson import screened_poisson_mesh
from latentsdf.utils.errors import MissingExtraError


@pytest.mark.slow
def test_sphere() -> None:
    """The surface through oriented points of a sphere is closed, close to it, and oriented outward."""
    pytest.importorskip("open3d")
    points, normals = oriented_sphere_points(0.8, 5000)
    mesh = screened_poisson_mesh(points, normals, 6)
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * np.pi * 0.512, rel=0.02)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.8).max() < 0.03


def test_missing_open3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra that installs Open3D."""
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[open3d\]'"):
        screened_poisson_mesh(*oriented_sphere_points(0.8, 200), depth=4)
