"""Random points on circles and spheres, and exact distances of a disk."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def circle_points(count: int, radius: float = 0.8, seed: int = 0) -> np.ndarray:
    """Uniform random points (count, 2) on a circle about the origin."""
    angle = np.random.default_rng(seed).uniform(0, 2 * math.pi, count)
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def sphere_points(count: int, radius: float = 0.8, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Uniform random points (count, 3) on a sphere about the origin, with Gaussian noise of the given deviation."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    return points + noise * rng.normal(size=(count, 3))


def oriented_sphere_points(radius: float, count: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random points (count, 3) on a sphere around the origin, and their unit normals (count, 3)."""
    normals = np.random.default_rng(round(1000 * radius)).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def write_disk_truth(path: Path, radius: float = 0.5) -> Path:
    """Write exact distances of a disk around (0.3, 0) as `latentsdf.reconstruction.planar.load_truth` reads them."""
    axis = np.linspace(-1.2, 1.2, 128)
    grid = np.hypot(axis[None, :] - 0.3, axis[:, None]) - radius  # indexed [y, x]
    np.savez(path, sdf_grid=grid, grid_axis=axis, surface_points=circle_points(2000, radius) + np.array([0.3, 0.0]))
    return path
