"""Methods without training: distances on a lattice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.points import circle_points, sphere_points

import latentsdf as ls
from latentsdf.config.reconstruction import NetworkConfig
from latentsdf.reconstruction import lattice_methods
from latentsdf.reconstruction.presets import preset
from latentsdf.utils.errors import ConfigError, MissingExtraError


def _ball(points: np.ndarray, normals: np.ndarray, depth: int, threads: int) -> trimesh.Trimesh:
    """A stand-in for the surface that Open3D reconstructs from points on a sphere."""
    assert ((points * normals).sum(1) > 0).all() and depth == 5 and threads >= 1
    return trimesh.creation.icosphere(4, float(np.linalg.norm(points, axis=1).mean()))


@pytest.mark.slow
def test_signed_heat_of_annulus(tmp_path: Path) -> None:
    """An annulus from unoriented points far from the origin; a saved field has the same distances and contours."""
    points = np.concatenate((circle_points(2000, 20.0), circle_points(1000, 10.0, seed=1))) + 5
    config = preset("signed_heat", 2)
    result = ls.reconstruct(points, config=replace(config, model=replace(config.model, resolutions=(128,))))
    probes = np.random.default_rng(1).uniform(-20, 30, (5000, 2))
    radius = np.linalg.norm(probes - 5, axis=1)
    exact = np.maximum(radius - 20, 10 - radius)
    found = result.distance(probes)
    clear = np.abs(exact) > 0.3
    assert ((found < 0) == (exact < 0))[clear].mean() > 0.995 and np.abs(found - exact).mean() < 0.5
    assert len(result.contours(512)) == 2
    assert result.history[0]["surface"] < 0.01 and set(result.history[0]) == {"step", "seconds", "surface"}
    result.save(tmp_path / "field")
    np.testing.assert_array_equal(ls.load_field(tmp_path / "field").distance(probes), found)


@pytest.mark.slow
def test_signed_heat_of_ball() -> None:
    """The mesh of a ball is closed, with its volume."""
    points = sphere_points(3000, 2.0)
    config = preset("signed_heat", 3)
    result = ls.reconstruct(points, points, config=replace(config, model=replace(config.model, resolutions=(32,))))
    mesh = result.mesh(64)
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * np.pi * 8, rel=0.03)


@pytest.mark.slow
def test_distance_to_poisson_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    """The field of `poisson` is the exact distance to its surface, interpolated; here the surface is a stand-in."""
    monkeypatch.setattr(lattice_methods, "screened_poisson_mesh", _ball)
    config = preset("poisson", 3)
    config = replace(config, model=replace(config.model, resolutions=(32,)))
    points = sphere_points(3000, 2.0)
    result = ls.reconstruct(points + 1, points, config=config)
    rays = sphere_points(200, 1.0, seed=3)
    for radius in (1.0, 2.0, 2.2):
        assert result.distance(1 + radius * rays) == pytest.approx(radius - 2, abs=0.03)
    assert result.mesh(64).is_watertight


@pytest.mark.slow
def test_poisson_by_open3d() -> None:
    """Open3D reconstructs a torus from oriented points."""
    pytest.importorskip("open3d")
    torus = trimesh.creation.torus(0.65, 0.25)
    points, faces = trimesh.sample.sample_surface(torus, 5000, seed=0)
    config = preset("poisson", 3)
    config = replace(config, model=replace(config.model, resolutions=(64,)))
    result = ls.reconstruct(points, torus.face_normals[faces], config=config)
    probes = np.random.default_rng(1).uniform(-0.9, 0.9, (20_000, 3))
    exact = np.hypot(np.hypot(probes[:, 0], probes[:, 1]) - 0.65, probes[:, 2]) - 0.25
    assert np.abs(result.distance(probes) - exact).mean() < 0.01
    assert result.mesh(64).euler_number == 0


def test_poisson_without_open3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[open3d\]'"):
        ls.reconstruct(sphere_points(300), sphere_points(300), "poisson")


def test_planar_poisson() -> None:
    """Planar points are refused, with the method to use instead."""
    with pytest.raises(ConfigError, match="use signed_heat for planar points"):
        ls.reconstruct(circle_points(300), method="poisson")


def test_options_of_training() -> None:
    """Options of a training are refused where there is none."""
    with pytest.raises(ConfigError, match="'signed_heat' has no training and does not use steps"):
        ls.reconstruct(circle_points(300), method="signed_heat", steps=10)


def test_network_kind_of_lattice_methods() -> None:
    """A lattice cannot be trained, and methods without training have no other network."""
    with pytest.raises(ConfigError, match="model.kind lattice is for"):
        replace(preset("igr", 3), model=NetworkConfig(kind="lattice", resolutions=(8,)))
    with pytest.raises(ConfigError, match="got signed_heat with softplus"):
        replace(preset("signed_heat", 3), model=NetworkConfig())
