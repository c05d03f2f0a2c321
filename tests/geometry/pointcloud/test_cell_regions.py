"""Inside and outside of point clouds on cells."""

import numpy as np
import pytest
from helpers.points import circle_points, sphere_points

from latentsdf.geometry.pointcloud.cell_regions import CellRegions


@pytest.mark.parametrize("dim", [2, 3])
def test_ball(dim: int) -> None:
    """Cells inside and outside of a sphere are on their side of it, and those that are neither are around it."""
    points = circle_points(3000, 0.7) if dim == 2 else sphere_points(30_000, 0.7)
    cells = 48
    regions = CellRegions(points, cells, 1.2, near=0.1)
    margin = 2 * dim**0.5 * regions.edge
    inside, outside, near = (np.linalg.norm(x, axis=1) for x in (regions.inside, regions.outside, regions.near))
    assert inside.max() < 0.7 < outside.min() and inside.min() < margin and outside.max() > 1.15 * dim**0.5
    assert np.abs(near - 0.7).max() < 0.1 * dim**0.5 + margin  # cells are counted along the diagonals as well
    volume = regions.edge**dim * len(inside)
    exact = np.pi * 0.7**2 if dim == 2 else 4 / 3 * np.pi * 0.7**3
    assert exact * (1 - margin / 0.7) ** dim < volume < exact


def test_nested_circles() -> None:
    """A flood fill calls the inner disk inside; signed distances tell it apart."""
    points = np.concatenate((circle_points(3000, 0.9), circle_points(2000, 0.45)))
    filled = CellRegions(points, 64, 1.2, near=0.1)
    assert (np.linalg.norm(filled.inside, axis=1) < 0.3).any()

    def shell(x: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(x, axis=1)
        return np.maximum(radius - 0.9, 0.45 - radius)

    signed = CellRegions(points, 64, 1.2, near=0.1, signed_distance=shell)
    assert (shell(signed.inside) < 0).all() and (shell(signed.outside) > 0).all()
    assert len(signed.inside) + len(signed.outside) == len(filled.inside) + len(filled.outside)


def test_open_curve() -> None:
    """A half circle encloses nothing."""
    points = circle_points(3000, 0.7)
    regions = CellRegions(points[points[:, 0] > 0], 32, 1.2, near=0.1)
    assert len(regions.inside) == 0 and len(regions.outside) > 0
