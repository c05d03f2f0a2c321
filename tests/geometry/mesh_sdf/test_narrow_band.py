"""The band and the sparse lattice against analytic shapes and brute force over all faces."""

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh_sdf.full_lattice import full_lattice_distance
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.narrow_band import narrow_band
from latentsdf.geometry.mesh_sdf.solid import signed_narrow_band
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.utils.errors import ConfigError


def positions(index, resolution):
    return np.stack(np.unravel_index(index, (resolution + 1,) * 3), axis=1) * (2 / resolution) - 1.0


def brute_force(mesh, points):
    """O(points x faces), in numpy only: the closest point on the plane, if inside, else on the three edges."""
    best = np.full(len(points), np.inf)
    for triangle in np.asarray(mesh.triangles):
        for start, end in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
            edge = end - start
            t = np.clip((points - start) @ edge / max(edge @ edge, 1e-300), 0, 1)
            best = np.minimum(best, np.linalg.norm(points - start - t[:, None] * edge, axis=1))
        normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
        if np.linalg.norm(normal) > 1e-14:
            normal /= np.linalg.norm(normal)
            height = (points - triangle[0]) @ normal
            foot = points - height[:, None] * normal
            ends = zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
            sides = [np.cross(end - start, foot - start) @ normal for start, end in ends]
            best = np.where(np.min(sides, axis=0) >= 0, np.minimum(best, np.abs(height)), best)
    return best


def soup(seed, faces=40):
    """Random triangles: intersecting, open, some slivers, some without area, some partly outside the box."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.9, 0.9, (faces, 1, 3)) + rng.normal(scale=0.3, size=(faces, 3, 3))
    corners[:4, 2] = corners[:4, :2].mean(1) + 1e-9
    corners[4, 1] = corners[4, 0]
    return trimesh.Trimesh(corners.reshape(-1, 3), np.arange(3 * faces).reshape(-1, 3), process=False)


SHAPES = {
    "icosphere": lambda: trimesh.creation.icosphere(2, radius=0.7),
    "box": lambda: trimesh.creation.box((1.0, 0.6, 1.3)),
    "torus": lambda: trimesh.creation.torus(0.6, 0.2, major_sections=24, minor_sections=12),
    "soup": lambda: soup(0),
    "shared vertices": lambda: trimesh.Trimesh(
        np.random.default_rng(1).uniform(-1, 1, (9, 3)), np.random.default_rng(2).integers(0, 9, (30, 3)), process=False
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("band", [0.7, 3.0])
def test_band_is_complete_and_exact(shape, band):
    mesh, resolution = SHAPES[shape](), 20
    everything = np.arange((resolution + 1) ** 3)
    truth = brute_force(mesh, positions(everything, resolution))
    found = narrow_band(mesh, resolution, band)
    limit = band * 2 / resolution
    assert np.isin(everything[truth < limit - 1e-7], found.index).all()
    assert found.distance.max() <= limit * (1 + 1e-6)
    np.testing.assert_allclose(found.distance, truth[found.index], atol=2e-7)
    assert (np.diff(found.index.astype(np.int64)) > 0).all()
    assert (found.index.dtype, found.distance.dtype, found.face.dtype) == (np.uint32, np.float32, np.int32)


def test_closest_face_attains_the_distance():
    mesh = SHAPES["torus"]()
    found = narrow_band(mesh, 32, 4.0)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    points = positions(found.index, 32)
    for point, face, distance in zip(points[::97], found.face[::97], found.distance[::97], strict=True):
        assert np.sqrt(closest_point_on_triangle(*point, corners, face)[0]) == pytest.approx(distance, abs=1e-6)


def test_box_of_twelve_triangles_gives_the_analytic_band():
    resolution, half = 64, np.array([0.52, 0.31, 0.66])
    points = np.abs(positions(np.arange((resolution + 1) ** 3), resolution)) - half
    signed = np.linalg.norm(np.maximum(points, 0), axis=1) + np.minimum(points.max(1), 0)
    found = narrow_band(trimesh.creation.box(2 * half), resolution, 3.0)
    np.testing.assert_array_equal(found.index, np.flatnonzero(np.abs(signed) <= 3.0 * 2 / resolution))
    np.testing.assert_allclose(found.distance, np.abs(signed)[found.index], atol=1e-7)


def test_cube_where_seeding_from_vertices_holds_next_to_nothing():
    """The published band: lattice vertices around mesh vertices, so the cube's large faces are left out."""
    resolution, width, half = 128, 1.5 * 2 / 128, 0.5
    found = narrow_band(trimesh.creation.box((2 * half,) * 3), resolution, 1.5)
    x = np.abs(positions(found.index, resolution)) - half
    signed = np.linalg.norm(np.maximum(x, 0), axis=1) + np.minimum(x.max(1), 0)
    np.testing.assert_allclose(found.distance, np.abs(signed), atol=1e-7)
    assert len(found.index) == cube_band(half, width, resolution)
    assert (np.abs(x).max(1) <= width * (1 + 1e-9)).mean() < 0.004


def cube_band(half, width, resolution):
    """How many lattice vertices lie within `width` of a cube's surface, counted slice by slice."""
    axis = np.abs(np.arange(resolution + 1) * (2 / resolution) - 1) - half
    a, b = axis[:, None], axis[None, :]
    outside, inside = np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2, np.maximum(a, b)
    signed = (np.sqrt(outside + max(c, 0) ** 2) + np.minimum(np.maximum(inside, c), 0) for c in axis)
    return sum(np.count_nonzero(np.abs(part) <= width * (1 + 1e-9)) for part in signed)


def test_band_moves_with_the_mesh():
    mesh, resolution, cell = SHAPES["torus"](), 40, 2 / 40
    found = narrow_band(mesh, resolution, 2.0)
    moved = mesh.copy()
    moved.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 0, 1]))
    moved.apply_translation([0, 0, 3 * cell])
    grid, expected = (np.full((resolution + 1,) * 3, np.inf) for _ in range(2))
    grid.flat[found.index] = found.distance
    again = narrow_band(moved, resolution, 2.0)
    expected.flat[again.index] = again.distance
    rotated = np.roll(np.rot90(grid, 1, axes=(0, 1)), 3, axis=2)
    assert (np.isfinite(rotated) == np.isfinite(expected)).mean() > 0.9999
    both = np.isfinite(rotated) & np.isfinite(expected)
    np.testing.assert_allclose(rotated[both], expected[both], atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_sparse_lattice(shape):
    mesh, resolution = SHAPES[shape](), 16
    distance, face = full_lattice_distance(mesh, resolution)
    truth = brute_force(mesh, positions(np.arange(distance.size), resolution)).reshape(distance.shape)
    assert distance.shape == (17, 17, 17) and face.min() >= 0
    np.testing.assert_allclose(distance, truth, atol=2e-7)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    x = positions(np.arange(distance.size), resolution)
    at_face = [closest_point_on_triangle(*x[q], corners, f)[0] for q, f in enumerate(face.ravel())]
    np.testing.assert_allclose(np.sqrt(at_face), truth.ravel(), atol=2e-7)


@pytest.mark.parametrize("shape", ["box", "soup"])
def test_sparse_lattice_cuts_long_triangles(shape):
    mesh, resolution = SHAPES[shape](), 100
    distance, face = full_lattice_distance(mesh, resolution)
    some = np.random.default_rng(0).integers(0, distance.size, 3000)
    truth = brute_force(mesh, positions(some, resolution))
    np.testing.assert_allclose(distance.ravel()[some], truth, atol=3e-7)
    assert face.max() < len(mesh.faces)
    of_face = mesh.triangles[face.ravel()[some]]
    at_face = [
        brute_force(trimesh.Trimesh(c, [[0, 1, 2]], process=False), x[None])[0]
        for c, x in zip(of_face[:200], positions(some[:200], resolution), strict=True)
    ]
    np.testing.assert_allclose(at_face, truth[:200], atol=3e-7)


def test_sparse_lattice_of_a_sphere_that_its_centre_cannot_tell_apart():
    """Every face is as near to the centre, so nothing can be ruled out there."""
    mesh, resolution = trimesh.creation.icosphere(4, radius=0.75), 24
    distance, _ = full_lattice_distance(mesh, resolution)
    truth, _, _ = MeshDistance(mesh).unsigned(positions(np.arange(distance.size), resolution))
    np.testing.assert_allclose(distance.ravel(), truth, atol=2e-7)


@pytest.mark.parametrize("shape", ["torus", "soup"])
def test_threads_change_nothing(shape):
    mesh = SHAPES[shape]()
    one, three = signed_narrow_band(mesh, 40, 3.0), signed_narrow_band(mesh, 40, 3.0, threads=3)
    np.testing.assert_array_equal(one.index, three.index)
    np.testing.assert_array_equal(one.distance, three.distance)
    np.testing.assert_array_equal(np.abs(one.distance), narrow_band(mesh, 40, 3.0).distance)
    np.testing.assert_allclose(
        full_lattice_distance(mesh, 20)[0], full_lattice_distance(mesh, 20, threads=3)[0], atol=1e-7
    )


def test_mesh_outside_the_box():
    mesh = trimesh.creation.icosphere(1, radius=0.1)
    mesh.apply_translation([3, 0, 0])
    assert len(narrow_band(mesh, 16, 2.0).index) == 0
    distance, _ = full_lattice_distance(mesh, 8)
    assert distance[8, 4, 4] == pytest.approx(1.9, abs=0.01)


def test_bad_settings_are_refused():
    mesh = trimesh.creation.box()
    with pytest.raises(ConfigError, match="resolution must be 1 to 1624 cells per axis, got 2000"):
        narrow_band(mesh, 2000, 3.0)
    with pytest.raises(ConfigError, match="band_voxels must be positive, got 0"):
        narrow_band(mesh, 64, 0)
