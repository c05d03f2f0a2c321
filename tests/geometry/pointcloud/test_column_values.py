"""What values of columns can mean."""

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.column_values import are_unit, counts_rows, distance_fault, normals_fault


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
