"""scikit-image's marching cubes through the interface of `extract`, compared with the sparse search."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from latentsdf.extraction.extract import Mode, extract
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError


def _general(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - 0.6


def _overfit(points: torch.Tensor) -> torch.Tensor:
    """The sphere with a ripple that is smaller than the band."""
    return _general(points) + 0.01 * torch.sin(12 * points[:, 0]) * torch.cos(9 * points[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["general", "fused", "overfit", "smooth"])
@pytest.mark.parametrize("resolution", [32, 64])
def test_equality_with_sparse_extraction(mode: Mode, resolution: int) -> None:
    """Both methods put the same vertices on the same lattice edges, and enclose the same volume."""
    sparse, dense = (
        extract(_general, _overfit, resolution=resolution, mode=mode, method=method) for method in ("sparse", "skimage")
    )
    cell = 2 / resolution
    assert len(sparse.vertices) == len(dense.vertices)
    assert cKDTree(sparse.vertices).query(dense.vertices)[0].max() < 2e-4 * cell
    assert dense.is_watertight and dense.volume == pytest.approx(sparse.volume, rel=1e-4)
    assert dense.volume > 0


def test_sphere() -> None:
    """The vertices are on the sphere up to the interpolation error, with outward faces and a level."""
    mesh = extract(_general, resolution=32, level=0.1, method="skimage", normals=True)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    np.testing.assert_allclose(radius, 0.7, atol=2e-3)
    assert ((mesh.vertex_normals * mesh.vertices).sum(axis=1) > 0.69).all() and mesh.volume > 0


def test_surface_cut_by_box() -> None:
    """A surface that leaves the box is closed on its side, as by the sparse method."""

    def half_space(points: torch.Tensor) -> torch.Tensor:
        return points[:, 0] - 0.25

    mesh = extract(half_space, resolution=16, method="skimage")
    assert mesh.is_watertight and mesh.volume == pytest.approx(1.25 * 4, rel=1e-3)
    np.testing.assert_allclose(mesh.bounds, [[-1, -1, -1], [0.25, 1, 1]], atol=1e-5)


def test_component_that_coarse_cells_miss() -> None:
    """The reference finds a small component in a field that is steeper than the sparse search assumes."""
    center = torch.tensor([0.52, 0.52, 0.52])

    def field(points: torch.Tensor) -> torch.Tensor:
        small = 40 * ((points - center).norm(dim=1) - 0.05)
        return torch.minimum(points.norm(dim=1) - 0.3, small)

    reference = extract(field, resolution=64, method="skimage")
    assert len(reference.split()) == 2


@pytest.mark.usefixtures("without_shape_checks")
def test_unusable_arguments() -> None:
    """An unknown method and a field without a surface are refused."""
    with pytest.raises(ConfigError, match="method: expected one of 'sparse', 'skimage', got str 'lewiner'"):
        extract(_general, method="lewiner")  # type: ignore[arg-type]
    with pytest.raises(EmptyLevelSetError, match="general field takes values from"):
        extract(lambda points: points.norm(dim=1) + 1, resolution=16, method="skimage")
