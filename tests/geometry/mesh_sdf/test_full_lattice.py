"""Distances on a whole lattice against brute force over all faces."""

import numpy as np
import pytest
import trimesh
from helpers.meshes import MESHES, brute_force_distance, vertex_positions

from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import clean, normalize
from latentsdf.geometry.mesh_sdf import full_lattice
from latentsdf.geometry.mesh_sdf.full_lattice import full_lattice_and_points, full_lattice_distance
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleBVH
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle, distance_to_faces
from latentsdf.utils.errors import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize("shape", MESHES)
def test_lattice_distance_matches_brute_force(shape):
    """Distances are exact at every vertex, and the closest face attains the distance."""
    mesh, resolution = MESHES[shape](), 16
    distance, face = full_lattice_distance(mesh, resolution)
    x = vertex_positions(np.arange(distance.size), resolution)
    truth = brute_force_distance(mesh, x).reshape(distance.shape)
    assert distance.shape == (17, 17, 17) and face.min() >= 0
    np.testing.assert_allclose(distance, truth, atol=2e-7)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    at_face = [closest_point_on_triangle(*x[q], corners, f)[0] for q, f in enumerate(face.ravel())]
    np.testing.assert_allclose(np.sqrt(at_face), truth.ravel(), atol=2e-7)


@pytest.mark.parametrize("shape", ["box", "soup"])
def test_lattice_distance_with_bisected_triangles(shape):
    """Triangles longer than the limit are bisected without changing distances or face indices."""
    mesh, resolution = MESHES[shape](), 100
    distance, face = full_lattice_distance(mesh, resolution)
    some = np.random.default_rng(0).integers(0, distance.size, 3000)
    truth = brute_force_distance(mesh, vertex_positions(some, resolution))
    np.testing.assert_allclose(distance.ravel()[some], truth, atol=3e-7)
    assert face.max() < len(mesh.faces)
    of_face = mesh.triangles[face.ravel()[some]]
    at_face = [
        brute_force_distance(trimesh.Trimesh(c, [[0, 1, 2]], process=False), x[None])[0]
        for c, x in zip(of_face[:200], vertex_positions(some[:200], resolution), strict=True)
    ]
    np.testing.assert_allclose(at_face, truth[:200], atol=3e-7)


def test_lattice_distance_of_sphere_around_center():
    """All faces are equally far from the center of the first block, so none can be discarded there."""
    mesh, resolution = trimesh.creation.icosphere(4, radius=0.75), 24
    distance, _ = full_lattice_distance(mesh, resolution)
    truth, _, _ = MeshDistance(mesh).unsigned(vertex_positions(np.arange(distance.size), resolution))
    np.testing.assert_allclose(distance.ravel(), truth, atol=2e-7)


@pytest.mark.parametrize("shape", ["torus", "soup"])
def test_lattice_distance_by_thread_count(shape):
    """Three threads compute the same distances as one."""
    mesh = MESHES[shape]()
    one, three = full_lattice_distance(mesh, 20)[0], full_lattice_distance(mesh, 20, threads=3)[0]
    np.testing.assert_allclose(one, three, atol=1e-7)


def test_lattice_distance_of_mesh_outside_box():
    """The mesh does not have to intersect the lattice."""
    mesh = trimesh.creation.icosphere(1, radius=0.1)
    mesh.apply_translation([3, 0, 0])
    distance, _ = full_lattice_distance(mesh, 8)
    assert distance[8, 4, 4] == pytest.approx(1.9, abs=0.01)


def test_area_of_bisected_triangles():
    """Pieces have short edges, refer to their triangle, and add up to its area."""
    corners = np.array([[[0.0, 0, 0], [100, 0, 0], [0, 30, 0]], [[0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    pieces, owner = full_lattice._bisect_long_triangles(corners)
    assert np.linalg.norm(np.roll(pieces, -1, axis=1) - pieces, axis=2).max() <= 16
    area = np.linalg.norm(np.cross(pieces[:, 1] - pieces[:, 0], pieces[:, 2] - pieces[:, 0]), axis=1) / 2
    np.testing.assert_allclose(np.bincount(owner, weights=area), [1500, 0.5])


def test_triangles_in_bounding_discs():
    """Corners lie in the plane and within the radius of the disc; the disc of an acute triangle is its circumcircle."""
    corners = np.random.default_rng(0).normal(size=(200, 3, 3))
    disc = full_lattice._bounding_discs(corners).astype(np.float64)
    center, normal, radius = disc[:3].T, disc[3:6].T, disc[6]
    offset = corners - center[:, None]
    np.testing.assert_allclose(np.einsum("fsx,fx->fs", offset, normal), 0, atol=1e-5)
    away = np.linalg.norm(offset, axis=2)
    assert (away <= radius[:, None] + 1e-5).all()
    squared = ((np.roll(corners, -1, axis=1) - corners) ** 2).sum(2)
    acute, obtuse = squared.sum(1) > 2.1 * squared.max(1), squared.sum(1) < 2 * squared.max(1)
    np.testing.assert_allclose(np.ptp(away[acute], axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(2 * radius[obtuse], np.sqrt(squared.max(1)[obtuse]), rtol=1e-5)


def test_resolution_outside_index_range():
    """Lattices whose linear indices exceed uint32 raise an error that names the limit."""
    with pytest.raises(ConfigError, match="resolution must be 1 to 1624 cells per axis, got 0"):
        full_lattice_distance(trimesh.creation.box(), 0)


@pytest.mark.slow
@pytest.mark.parametrize(("resolution", "threads"), [(64, 1), (37, 1), (64, 2)])
def test_closest_faces_of_points(resolution: int, threads: int) -> None:
    """The closest faces of points are those of a hierarchy, up to ties; the lattice does not depend on the points."""
    mesh = normalize(clean(furniture("sofa", 1, wide=True))[0])[0]
    points = np.concatenate([np.random.default_rng(0).uniform(-1.02, 1.02, (20_000, 3)), mesh.vertices, [[1, 1, 1]]])
    distance, face, closest = full_lattice_and_points(mesh, resolution, points, threads)
    np.testing.assert_array_equal(closest == -1, np.abs(points).max(axis=1) > 1)
    inside = closest >= 0
    triangles = np.asarray(mesh.triangles)
    expected = TriangleBVH(triangles).closest(points)[0]
    np.testing.assert_allclose(distance_to_faces(points, closest, triangles)[inside], expected[inside], atol=5e-7)
    alone = full_lattice_distance(mesh, resolution)
    np.testing.assert_allclose(distance, alone[0], atol=5e-7)
    assert (face == alone[1]).mean() > 0.9
