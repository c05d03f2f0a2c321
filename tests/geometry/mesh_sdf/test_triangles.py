"""Triangle areas, normals, samples and closest points against closed forms and dense sampling."""

import itertools

import numpy as np
import pytest
import trimesh
from helpers.meshes import triangle_soup

from latentsdf.geometry.mesh_sdf import triangles


def test_areas_and_normals_match_trimesh():
    """Areas and unit normals equal trimesh's; degenerate triangles have area and normal zero."""
    mesh = trimesh.creation.icosphere(2)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    np.testing.assert_allclose(triangles.triangle_areas(corners), mesh.area_faces, rtol=1e-12)
    np.testing.assert_allclose(triangles.triangle_normals(corners), mesh.face_normals, atol=1e-12)
    line = np.array([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    assert triangles.triangle_areas(line) == 0 and (triangles.triangle_normals(line) == 0).all()


@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (3.0, -1.0, 2.0)])
def test_signed_volume_of_box(center):
    """The volume does not depend on the center, and changes its sign with the orientation."""
    box = trimesh.creation.box((1.0, 0.6, 1.3))
    faces = np.array(box.faces)
    area, volume = triangles.areas_and_signed_volume(np.array(box.vertices), faces, np.array(center))
    assert area.sum() == pytest.approx(2 * (0.6 + 0.6 * 1.3 + 1.3)) and volume == pytest.approx(0.78)
    reversed_faces = np.ascontiguousarray(faces[:, ::-1])
    assert triangles.areas_and_signed_volume(np.array(box.vertices), reversed_faces, np.array(center))[1] == (
        pytest.approx(-0.78)
    )


@pytest.mark.parametrize("vertex_count", [50, 2**21])
def test_corner_set_ids_by_corner_order(vertex_count):
    """Identifiers are equal exactly for faces with the same corners, by packing and by sorting rows."""
    faces = np.array([*itertools.permutations((3, 7, 5)), (3, 7, 6), (0, 1, 2), (2, 1, 0), (1, 1, 2)])
    ids = triangles.corner_set_ids(faces, vertex_count)
    corner_sets = [tuple(sorted(face)) for face in faces.tolist()]
    for (a, one), (b, two) in itertools.combinations(zip(ids, corner_sets, strict=True), 2):
        assert (a == b) == (one == two)


def test_samples_on_triangles():
    """Each triangle has its minimum number of samples, large ones have more, and samples lie on their triangle."""
    corners = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 1], [3, 0, 1], [0, 3, 1]]])
    points, owner = triangles.sample_triangles(corners, 2, 1000, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(owner), [2 + 100, 2 + 900])
    np.testing.assert_allclose(points[:, 2], owner)
    assert (points[:, :2] >= 0).all() and (points[:, :2].sum(1) <= np.where(owner == 0, 1, 3) + 1e-12).all()


def test_closest_point_matches_dense_sampling():
    """No sampled point of a triangle is closer, and the closest point is at the returned distance on the triangle."""
    rng = np.random.default_rng(0)
    corners = np.asarray(triangle_soup(0).triangles, dtype=np.float64)
    weight = rng.dirichlet((0.7, 0.7, 0.7), 20_000)
    for f, p in enumerate(rng.uniform(-1, 1, (len(corners), 3))):
        squared, _, *closest = triangles.closest_point_on_triangle(*p, corners, f)
        assert ((p - closest) ** 2).sum() == pytest.approx(squared, abs=1e-15)
        sampled = ((weight @ corners[f] - p) ** 2).sum(1).min()
        assert squared <= sampled + 1e-12 and np.sqrt(sampled) - np.sqrt(squared) < 0.02


@pytest.mark.slow
def test_closest_feature_by_region():
    """Corners are numbered 0 to 2, edges 3 to 5 from their first corner, the interior is 6."""
    corners = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    queries = {(-1, -1): 0, (2, -1): 1, (-1, 2): 2, (0.5, -1): 3, (1, 1): 4, (-1, 0.5): 5, (0.2, 0.3): 6}
    for (x, y), feature in queries.items():
        assert triangles.closest_point_on_triangle(x, y, 0.4, corners, 0)[1] == feature
