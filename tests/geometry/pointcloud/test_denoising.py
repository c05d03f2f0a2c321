import numpy as np
import pytest
from scipy.spatial import cKDTree

from latentsdf.geometry.pointcloud.denoising import denoise, select_neighbour_count
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud


def _sphere(count: int, noise: float, radius: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True) + noise * rng.normal(size=(count, 3))


def _off(points: np.ndarray, radius: float = 0.8) -> np.ndarray:
    return np.abs(np.linalg.norm(points, axis=1) - radius)


def test_a_cloud_without_noise_is_left_alone() -> None:
    lines = np.stack(np.meshgrid(np.linspace(-1, 1, 2000), (-1, 1), (-1, 1)), axis=-1).reshape(-1, 3)
    for points in (_sphere(3000, 0), _sphere(30_000, 1e-3), _sphere(300, 0.02), lines):
        assert denoise(points) is points


@pytest.mark.parametrize("shape", ["board", "tube", "rod"])
def test_thin_parts_are_not_taken_for_noise(shape: str) -> None:
    rng = np.random.default_rng(0)
    flat, side, turn = rng.uniform(-1, 1, (8000, 2)), rng.choice((-1, 1), 8000), rng.uniform(0, 2 * np.pi, 8000)
    points = {
        "board": np.column_stack((flat, 0.02 * side)),
        "tube": np.column_stack(((0.5 + 0.02 * side) * np.cos(turn), (0.5 + 0.02 * side) * np.sin(turn), flat[:, 0])),
        "rod": np.column_stack((0.004 * np.cos(turn), 0.004 * np.sin(turn), flat[:, 0])),
    }[shape]
    assert denoise(points) is points


@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_a_noisy_sphere_comes_back_to_its_radius(noise: float) -> None:
    points = _sphere(20_000, noise)
    moved = denoise(points)
    assert _off(moved).mean() < 0.5 * _off(points).mean()
    # Not onto the chords between neighbours, as planes would.
    assert abs(np.linalg.norm(moved, axis=1).mean() - 0.8) < 0.1 * noise


def test_a_noisy_circle_in_the_plane() -> None:
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, 5000)
    points = 0.8 * np.stack((np.cos(turn), np.sin(turn)), axis=1) + 0.01 * rng.normal(size=(5000, 2))
    assert _off(denoise(points)).mean() < 0.5 * _off(points).mean()


def test_more_noise_takes_more_neighbours() -> None:
    counts = []
    for noise in (0, 0.005, 0.01, 0.03):
        points = _sphere(30_000, noise)
        counts.append(select_neighbour_count(points, cKDTree(points)))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 96


def test_a_quadric_is_reproduced_through_noise_that_is_even() -> None:
    # Each point twice, as far above the surface as below it: the fit lies halfway.
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (10_000, 2))
    height = 0.2 * flat[:, 0] ** 2 - 0.1 * flat[:, 0] * flat[:, 1]
    shift = 0.015 * rng.normal(size=len(flat))
    points = np.concatenate([np.column_stack((flat, height + sign * shift)) for sign in (-1, 1)])
    moved = denoise(points)
    inside = np.abs(points[:, :2]).max(1) < 0.8
    off = moved[:, 2] - (0.2 * moved[:, 0] ** 2 - 0.1 * moved[:, 0] * moved[:, 1])
    assert np.abs(off[inside]).mean() < 1e-3


def test_normals_of_a_denoised_sphere_point_outward() -> None:
    points = _sphere(20_000, 0.02)
    raw, clean = OrientedPointCloud(points), OrientedPointCloud(denoise(points))
    radial = [(cloud.normals * cloud.points).sum(1) / np.linalg.norm(cloud.points, axis=1) for cloud in (raw, clean)]
    assert np.median(radial[1]) > 0.95
    assert radial[1].mean() > radial[0].mean() + 0.1
