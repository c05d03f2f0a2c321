"""Triangulation of polygons."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from latentsdf.geometry.mesh_files.polygons import triangulate
from latentsdf.utils.errors import MeshError


def _area(corners: np.ndarray) -> float:
    """Area of a planar polygon, by the shoelace formula."""
    return float(np.linalg.norm(np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)) / 2)


def _split(corners: np.ndarray) -> trimesh.Trimesh:
    count = len(corners)
    faces = triangulate(corners, np.arange(count), np.array([count]))
    return trimesh.Trimesh(corners, faces, process=False)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(0, 2**32 - 1))
def test_star_shaped_polygons(count: int, seed: int) -> None:
    """Triangles of a random polygon in space cover its area once, with its normal, and use all edges of the outline."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    angle = 2 * np.pi * np.arange(count) / count + 0.3 * (angle - angle.mean()) / count
    radius = rng.uniform(0.2, 1, count)
    flat = np.column_stack((radius * np.cos(angle), radius * np.sin(angle), np.zeros(count)))
    rotation = Rotation.random(rng=rng)
    corners = rotation.apply(flat) + rng.normal(size=3)
    mesh = _split(corners)
    assert len(mesh.faces) == count - 2
    np.testing.assert_allclose(mesh.area, _area(corners - corners[0]), rtol=1e-9)
    normals = np.cross(*(mesh.triangles[:, i] - mesh.triangles[:, 0] for i in (1, 2)))
    assert (normals @ rotation.apply((0, 0, 1)) > 0).all()


def test_straight_corners() -> None:
    """Corners on a straight edge are corners of proper triangles, so that neighbors stay connected."""
    square = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0], [1, 2, 0], [0, 2, 0], [0, 1, 0]], float)
    mesh = _split(square)
    assert len(mesh.faces) == 6 and (mesh.area_faces > 0).all() and np.isclose(mesh.area, 4)


def test_polygon_with_bridge() -> None:
    """A square hole that a bridge connects to the outline stays open."""
    outer = [[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0], [0, 0, 0]]
    inner = [[1, 1, 0], [1, 3, 0], [3, 3, 0], [3, 1, 0], [1, 1, 0]]
    assert np.isclose(_split(np.array(outer + inner, float)).area, 12)


@pytest.mark.parametrize("turn", range(4))
def test_concave_quadrilateral(turn: int) -> None:
    """An arrowhead is split along its inner diagonal wherever it starts."""
    arrow = np.roll(np.array([[0, 0, 0], [2, -1, 0], [0.5, 0, 0], [2, 1, 0]], float), turn, axis=0)
    assert np.isclose(_split(arrow).area, _area(arrow))


def test_degenerate_polygons() -> None:
    """Polygons without area, with repeated corners or non-finite corners, end in few triangles without an error."""
    line = np.column_stack((np.arange(5.0), np.zeros((5, 2))))
    assert len(_split(line).faces) == 3
    assert len(triangulate(line, np.array([0, 0, 1, 1]), np.array([4]))) == 0
    assert len(_split(np.full((6, 3), np.nan)).faces) == 4


def test_mixed_polygons_keep_their_order() -> None:
    """Triangles follow the order of the polygons, and polygons with fewer than 3 corners have none."""
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    faces = triangulate(square, np.array([0, 1, 2, 3, 0, 1, 2, 0, 2, 3]), np.array([4, 0, 3, 1, 2]))
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])


def test_too_many_corners() -> None:
    """Polygons whose triangulation would take hours are refused."""
    with pytest.raises(MeshError, match="60,000 corners"):
        triangulate(np.zeros((3, 3)), np.zeros(60_000, np.int64), np.array([60_000]))
