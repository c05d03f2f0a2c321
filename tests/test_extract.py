"""Extraction: analytic surfaces, the dense way as reference, closed meshes, clear errors."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from torch import Tensor

from latentsdf.errors import ConfigError, EmptyLevelSetError, LatentSDFError
from latentsdf.extract import extract


def sphere(points: Tensor) -> Tensor:
    return points.norm(dim=1) - 0.5


def shifted_sphere(points: Tensor) -> Tensor:
    return (points - 0.013).norm(dim=1) - 0.517


def detailed(points: Tensor) -> Tensor:
    return shifted_sphere(points) + 0.004 * torch.sin(40 * points[:, 0]) * torch.sin(40 * points[:, 1])


def torus(points: Tensor) -> Tensor:
    ring = points[:, [0, 2]].norm(dim=1) - 0.5
    return torch.stack((ring, points[:, 1]), dim=1).norm(dim=1) - 0.2


def rod(points: Tensor) -> Tensor:
    return torch.maximum(points[:, :2].norm(dim=1) - 0.02, points[:, 2].abs() - 0.7)


@pytest.mark.parametrize("resolution", [32, 100, 128, 256])
def test_a_sphere_is_closed_outward_and_exact(resolution: int) -> None:
    mesh = extract(sphere, resolution=resolution)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.5).max() < 2 / resolution**2
    assert math.isclose(mesh.volume, math.pi / 6, rel_tol=10 / resolution**2)


def test_a_torus_keeps_its_hole_and_a_thin_rod_its_length() -> None:
    ring = extract(torus, resolution=128)
    assert ring.is_watertight and ring.euler_number == 0
    assert math.isclose(ring.volume, 2 * math.pi**2 * 0.5 * 0.04, rel_tol=2e-3)
    thin = extract(rod, resolution=256)
    assert thin.is_watertight and thin.euler_number == 2
    assert np.allclose(thin.bounds[:, 2], [-0.7, 0.7], atol=1e-3)


def _dense(resolution: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Both fields on the whole lattice, s_o pasted on the dilated cells, marching cubes: the published way."""
    axis = torch.linspace(-1, 1, resolution + 1, dtype=torch.float64).float()
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    shape = (resolution + 1,) * 3
    general, overfit = (f(points).numpy().reshape(shape) for f in (shifted_sphere, detailed))
    corners = [
        np.s_[i : resolution + i, j : resolution + j, k : resolution + k]
        for i in (0, 1)
        for j in (0, 1)
        for k in (0, 1)
    ]
    inside = sum((general < 0)[c].astype(int) for c in corners)
    band = binary_dilation((inside > 0) & (inside < 8), np.ones((2 * width + 1,) * 3))
    mask = np.zeros(shape, dtype=bool)
    for corner in corners:
        mask[corner] |= band
    vertices, faces, _, _ = marching_cubes(np.where(mask, overfit, general), 0.0)
    return vertices * (2 / resolution) - 1, faces


@pytest.mark.parametrize("resolution", [64, 128])
def test_fused_extraction_equals_the_dense_way(resolution: int) -> None:
    vertices, faces = _dense(resolution, width=2)
    mesh = extract(shifted_sphere, detailed, resolution=resolution, band_voxels=3)
    assert len(mesh.vertices) == len(vertices)
    assert len(mesh.faces) == len(faces)
    assert cKDTree(mesh.vertices).query(vertices)[0].max() < 1e-5
    assert mesh.is_watertight


def test_modes_differ_as_they_should() -> None:
    error = {}
    for mode in ("general", "overfit", "fused", "smooth"):
        mesh = extract(shifted_sphere, detailed, resolution=128, mode=mode)  # type: ignore[arg-type]
        error[mode] = float(detailed(torch.from_numpy(np.float32(mesh.vertices))).abs().mean())
    assert error["fused"] < 1e-4 and error["overfit"] < 1e-4
    assert error["general"] > 1e-3
    assert error["fused"] < error["smooth"] < error["general"]


def test_the_largest_component_is_kept_alone() -> None:
    def two(points: Tensor) -> Tensor:
        return torch.minimum((points - 0.4).norm(dim=1) - 0.3, (points + 0.5).norm(dim=1) - 0.1)

    assert extract(two, resolution=64).body_count == 2
    assert math.isclose(extract(two, resolution=64, largest_component=True).volume, 0.113, rel_tol=0.02)


def test_errors_say_what_was_found() -> None:
    with pytest.raises(EmptyLevelSetError, match=r"values run from 0\.\d+ to .* never cross zero"):
        extract(lambda x: x.norm(dim=1) + 0.3, resolution=64)
    with pytest.raises(LatentSDFError, match="not finite"):
        extract(lambda x: x.norm(dim=1) * math.nan, resolution=64)
    with pytest.raises(ConfigError, match="resolution 331 .* use 320"):
        extract(sphere, resolution=331)
