"""Repair of point clouds: stray points and inward normals."""

import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.geometry.pointcloud.repair import repair

POINTS, NORMALS = oriented_sphere_points(0.8)


@pytest.mark.parametrize("stray", [[[500.0, 0, 0]], [[0, 0, -20.0], [0, 0, -20.1]], [[9.0, 9, 9], [-50, 0, 0]]])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_stray_points(stray: list[list[float]], scale: float) -> None:
    """Few points far away are left out with their normals, in any unit, and named."""
    points = scale * np.concatenate((POINTS, stray)) + 3 * scale
    normals = np.concatenate((NORMALS, np.ones((len(stray), 3))))
    table, notes = repair(PointTable(points, normals))
    np.testing.assert_array_equal(table.points, points[: len(POINTS)])
    np.testing.assert_array_equal(table.normals, NORMALS)
    assert len(notes) == 1 and notes[0].startswith(f"{len(stray)} of {len(points):,} points lie far")


def test_origin_among_map_coordinates() -> None:
    """Points at the origin, which scanners write for missing measurements, are stray among map coordinates."""
    table, _ = repair(PointTable(np.concatenate((np.zeros((5, 3)), POINTS + 5e6))))
    assert len(table.points) == len(POINTS)


def test_thin_parts() -> None:
    """Points of a long thin part, which form a chain, are kept; so is a second body of many points."""
    antenna = np.linspace(0, 20, 20)[:, None] * (0, 0, 1)
    for points in (np.concatenate((POINTS, antenna)), np.concatenate((POINTS, POINTS[:100] + np.array((50, 0, 0))))):
        table, notes = repair(PointTable(points))
        assert len(table.points) == len(points) and not notes


@pytest.mark.parametrize("dim", [2, 3])
def test_inward_normals(dim: int) -> None:
    """Normals that point inward are turned; outward normals, and those of an open sheet, are kept."""
    points, normals = POINTS[:, :dim], NORMALS[:, :dim]
    table, notes = repair(PointTable(points, -normals))
    np.testing.assert_array_equal(table.normals, normals)
    assert notes == ["the normals point inward; they are turned"]
    assert not repair(PointTable(points, normals))[1]
    sheet = points * ([1] * (dim - 1) + [0])
    for sign in (1, -1):
        up = np.tile([0.0] * (dim - 1) + [sign], (len(points), 1))
        assert not repair(PointTable(sheet, up))[1]


def test_repair_of_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    """Arrays of the Python interface are repaired, too, with a note."""
    cloud = prepare_point_cloud(np.concatenate((POINTS, [[900.0, 0, 0]])), np.concatenate((-NORMALS, [[0, 0, 1.0]])))
    assert cloud.normals is not None and (cloud.points * cloud.normals).sum(axis=1).min() > 0
    assert "1 of 2,001 points lie far" in capsys.readouterr().err
