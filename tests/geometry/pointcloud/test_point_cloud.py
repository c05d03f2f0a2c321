"""Validation and normalization of raw point clouds."""

import math

import numpy as np
import pytest
from helpers.points import circle_points, sphere_points

from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud, require_usable_points
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.utils.errors import MeshError


def test_normalization_round_trip() -> None:
    """Points are scaled into the unit ball, the transform inverts this, and normals get unit length."""
    for points in (circle_points(500, 30.0) + 7, sphere_points(500, 0.01) - 3):
        cloud = prepare_point_cloud(points, points)
        assert cloud.dim == points.shape[1]
        assert math.isclose(np.linalg.norm(cloud.points, axis=1).max(), 1 / 1.03, rel_tol=0.02)
        assert np.allclose(cloud.similarity.to_user(cloud.points), points)
        assert cloud.normals is not None and np.allclose(np.linalg.norm(cloud.normals, axis=1), 1)


def test_six_columns_with_copies() -> None:
    """Six columns are points and normals, and exact copies are dropped in order."""
    points = sphere_points(300)
    table = np.hstack((points, 2 * points))
    cloud = prepare_point_cloud(np.concatenate((table, table[:50])))
    assert len(cloud.points) == 300
    assert cloud.normals is not None and np.allclose(cloud.normals, points / 0.8)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (sphere_points(99), "99 points are too few for a shape"),
        (np.zeros((500, 3)), "coincident points do not sample a surface"),
        (np.repeat(sphere_points(120), 5, axis=0), "120 of 600 points are different"),
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, 1.0), "1 of 200 points are not finite"),
        (np.linspace(0, 1, 200)[:, None] * (1, 2, 3) + 5, "lie on a line"),
        (np.linspace(0, 1, 200)[:, None] * (1, 2), "lie on a line"),
        ((sphere_points(200) * 1e-5 + 1).astype(np.float32), "leaves too few significant digits"),
        (sphere_points(200) * 1e12, "too large for any unit of length"),
        (np.hstack((sphere_points(200), np.linspace(-1e-3, 1e-3, 200)[:, None])), "signed samples"),
        (np.full((200, 3), "a"), "expected a table of real numbers"),
        (sphere_points(200).astype(complex), "real numbers, .* got complex128 array"),
        (np.zeros((200, 5)), r"columns 3 to 4 of shape \(200, 5\) is not clear"),
        (np.zeros(200), "got shape"),
        ([[1, 2, 3], [1, 2]], "rows that differ in length"),
    ],
)
def test_unusable_points(points: np.ndarray, message: str) -> None:
    """Points that do not sample a shape are rejected with the reason."""
    with pytest.raises(MeshError, match=message):
        prepare_point_cloud(points)


def test_unusable_normals() -> None:
    """Normals of another shape or of length 0 are rejected with the reason."""
    points = sphere_points(200)
    with pytest.raises(MeshError, match="shape of the points"):
        prepare_point_cloud(points, points[:100])
    some = np.where(np.arange(200)[:, None] < 3, 0, points)
    for call in (lambda: prepare_point_cloud(points, some), lambda: prepare_point_cloud(np.hstack((points, some)))):
        with pytest.raises(MeshError, match="3 of 200 normals are not finite or have length 0"):
            call()
    with pytest.raises(MeshError, match="already include normals"):
        prepare_point_cloud(np.hstack((points, points)), points)


def test_narrow_grid() -> None:
    """A narrow but two-dimensional grid is not mistaken for a line."""
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1e-3, 4)), axis=-1).reshape(-1, 2)
    assert len(prepare_point_cloud(grid).points) == 200
    assert len(prepare_point_cloud(np.hstack((grid, np.zeros((200, 1))))).points) == 200


def test_usable_points_name() -> None:
    """Messages start with the name of the table."""
    require_usable_points("chair.npy", PointTable(sphere_points(200)))
    with pytest.raises(MeshError, match="^chair.npy: 99 points are too few"):
        require_usable_points("chair.npy", PointTable(sphere_points(99)))
