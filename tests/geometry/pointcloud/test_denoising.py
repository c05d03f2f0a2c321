"""Denoising of point clouds by quadric fits."""

import numpy as np
import pytest
from helpers.points import sphere_points
from scipy.spatial import cKDTree

from latentsdf.geometry.pointcloud.denoising import denoise, select_neighbor_count
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud


def _error(points: np.ndarray, radius: float = 0.8) -> np.ndarray:
    return np.abs(np.linalg.norm(points, axis=1) - radius)


def test_clean_clouds_unchanged() -> None:
    """Clouds with noise narrower than their spacing are returned unchanged."""
    lines = np.stack(np.meshgrid(np.linspace(-1, 1, 2000), (-1, 1), (-1, 1)), axis=-1).reshape(-1, 3)
    for points in (
        sphere_points(3000, noise=0),
        sphere_points(30_000, noise=1e-3),
        sphere_points(300, noise=0.02),
        lines,
    ):
        assert denoise(points) is points


@pytest.mark.parametrize("shape", ["board", "tube", "rod"])
def test_thin_parts_unchanged(shape: str) -> None:
    """The two sides of thin plates, tubes and rods are not mistaken for noise."""
    rng = np.random.default_rng(0)
    flat, side, turn = rng.uniform(-1, 1, (8000, 2)), rng.choice((-1, 1), 8000), rng.uniform(0, 2 * np.pi, 8000)
    points = {
        "board": np.column_stack((flat, 0.02 * side)),
        "tube": np.column_stack(((0.5 + 0.02 * side) * np.cos(turn), (0.5 + 0.02 * side) * np.sin(turn), flat[:, 0])),
        "rod": np.column_stack((0.004 * np.cos(turn), 0.004 * np.sin(turn), flat[:, 0])),
    }[shape]
    assert denoise(points) is points


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_noisy_sphere(noise: float) -> None:
    """Denoising halves the error of a sphere without shrinking it, as planes would."""
    points = sphere_points(20_000, noise=noise)
    moved = denoise(points)
    assert _error(moved).mean() < 0.5 * _error(points).mean()
    assert abs(np.linalg.norm(moved, axis=1).mean() - 0.8) < 0.1 * noise


def test_noisy_circle() -> None:
    """Denoising halves the error of a planar circle."""
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, 5000)
    points = 0.8 * np.stack((np.cos(turn), np.sin(turn)), axis=1) + 0.01 * rng.normal(size=(5000, 2))
    assert _error(denoise(points)).mean() < 0.5 * _error(points).mean()


def test_neighbor_count_by_noise() -> None:
    """More noise needs more neighbors, from none to 96."""
    counts = []
    for noise in (0, 0.005, 0.01, 0.03):
        points = sphere_points(30_000, noise=noise)
        counts.append(select_neighbor_count(points, cKDTree(points)))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 96


@pytest.mark.slow
def test_quadric_reproduction() -> None:
    """Offsets that are symmetric about a quadric surface cancel exactly in the fit."""
    # Each point twice, equally far above and below the surface.
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (10_000, 2))
    height = 0.2 * flat[:, 0] ** 2 - 0.1 * flat[:, 0] * flat[:, 1]
    shift = 0.015 * rng.normal(size=len(flat))
    points = np.concatenate([np.column_stack((flat, height + sign * shift)) for sign in (-1, 1)])
    moved = denoise(points)
    inside = np.abs(points[:, :2]).max(1) < 0.8
    off = moved[:, 2] - (0.2 * moved[:, 0] ** 2 - 0.1 * moved[:, 0] * moved[:, 1])
    assert np.abs(off[inside]).mean() < 1e-3


@pytest.mark.slow
def test_normals_after_denoising() -> None:
    """Denoising lets the normals of a noisy sphere be oriented outward."""
    points = sphere_points(20_000, noise=0.02)
    raw, clean = OrientedPointCloud(points), OrientedPointCloud(denoise(points))
    radial = [(cloud.normals * cloud.points).sum(1) / np.linalg.norm(cloud.points, axis=1) for cloud in (raw, clean)]
    assert np.median(radial[1]) > 0.95
    assert radial[1].mean() > radial[0].mean() + 0.1
