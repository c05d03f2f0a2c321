"""What values of columns can mean."""

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.column_values import (
    are_unit,
    counts_rows,
    distance_fault,
    is_positive_around,
    normals_fault,
)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0, 1, 2], True),
        ([7.0, 8.0, 9.0, 10.0], True),
        ([0, 1], False),
        ([0, 2, 4], False),
        ([0.0, 1.0, 2.5], False),
        ([np.inf] * 3, False),
        ([np.nan, 1, 2], False),
        ([-1e308, 1e308, 1e308], False),
    ],
)
def test_row_numbers(column: list[float], expected: bool) -> None:
    """Consecutive whole numbers count rows; infinite and huge values do not, and cause no warning."""
    assert counts_rows(np.array(column, dtype=np.float64)) == expected


def test_normals() -> None:
    """Vectors of one length are normals; colors are not."""
    normals = oriented_sphere_points(0.5, 300)[1]
    assert are_unit(normals) and normals_fault(normals) == normals_fault(3 * normals) == ""
    colors = np.random.default_rng(0).uniform(0, 255, (300, 3))
    assert not are_unit(colors) and "lengths range from" in normals_fault(colors)


@pytest.mark.parametrize("offset", [[1e5, 2.0, 3.0], [412_343.0, 5_654_321.0, 84.0]])
def test_large_values_of_little_change(offset: list[float]) -> None:
    """Times and returns, or coordinates far from the origin, have nearly one length, but are no normals."""
    columns = np.random.default_rng(0).uniform(-2, 2, (300, 3)) + offset
    assert "the same direction" in normals_fault(columns)
    assert "the same" in normals_fault(np.tile(offset, (300, 1)))


def test_signed_distances() -> None:
    """Distances of a sphere have no fault; flipped, unsigned and scaled ones and intensities do."""
    points = np.random.default_rng(1).uniform(-1, 1, (2000, 3))
    distance = np.linalg.norm(points, axis=1) - 0.5
    assert distance_fault(points, distance) == ""
    for values, fault in (
        (-distance, "it is negative at the outermost points"),
        (np.abs(distance), "no value is negative"),
        (np.random.default_rng(2).uniform(0, 255, 2000), "neighboring points by more than their distance"),
        (np.ones(2000), "it is constant"),
    ):
        assert fault in distance_fault(points, values)


@pytest.mark.parametrize("std", [0.0, 0.02])
def test_outermost_points(std: float) -> None:
    """Distances of samples in a box or next to the surface are positive around the shape; residuals are not."""
    points, normals = oriented_sphere_points(0.5, 300)
    rng = np.random.default_rng(3)
    if std:
        noise = rng.normal(scale=std, size=300)
        samples = points + noise[:, None] * normals
    else:
        samples = rng.uniform(-1, 1, (300, 3))
        noise = np.linalg.norm(samples, axis=1) - 0.5
    assert distance_fault(samples, noise) == "" and is_positive_around(samples, noise)
    residual = rng.normal(scale=0.01, size=300)
    assert distance_fault(points, residual) == "" and not is_positive_around(points, residual)
