"""Narrow bands against analytic shapes and brute force over all faces."""

import numpy as np
import pytest
import trimesh
from helpers.meshes import MESHES, box_distance, brute_force_distance, vertex_positions

from latentsdf.geometry.mesh_sdf.narrow_band import LatticeMesh, narrow_band, narrow_band_in_slabs
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.utils.errors import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize("shape", MESHES)
@pytest.mark.parametrize("band", [0.7, 3.0])
def test_complete_and_exact_band(shape, band):
    """The band has all vertices within its width, and no others, in sorted order with exact distances."""
    mesh, resolution = MESHES[shape](), 20
    everything = np.arange((resolution + 1) ** 3)
    truth = brute_force_distance(mesh, vertex_positions(everything, resolution))
    found = narrow_band(mesh, resolution, band)
    limit = band * 2 / resolution
    assert np.isin(everything[truth < limit - 1e-7], found.index).all()
    assert found.distance.max() <= limit * (1 + 1e-6)
    np.testing.assert_allclose(found.distance, truth[found.index], atol=2e-7)
    assert (np.diff(found.index.astype(np.int64)) > 0).all()
    assert (found.index.dtype, found.distance.dtype, found.face.dtype) == (np.uint32, np.float32, np.int32)


def test_distance_to_closest_face():
    """The distance to the stored face equals the stored distance."""
    mesh = MESHES["torus"]()
    found = narrow_band(mesh, 32, 4.0)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    points = vertex_positions(found.index, 32)
    for point, face, distance in zip(points[::97], found.face[::97], found.distance[::97], strict=True):
        assert np.sqrt(closest_point_on_triangle(*point, corners, face)[0]) == pytest.approx(distance, abs=1e-6)


def test_band_of_box_matches_closed_form():
    """Twelve large triangles give exactly the analytic band."""
    resolution, half = 64, np.array([0.52, 0.31, 0.66])
    signed = box_distance(vertex_positions(np.arange((resolution + 1) ** 3), resolution), half)
    found = narrow_band(trimesh.creation.box(2 * half), resolution, 3.0)
    np.testing.assert_array_equal(found.index, np.flatnonzero(np.abs(signed) <= 3.0 * 2 / resolution))
    np.testing.assert_allclose(found.distance, np.abs(signed)[found.index], atol=1e-7)


def test_band_of_cube_between_distant_vertices():
    """A band seeded from lattice vertices around mesh vertices would lack the large faces of the cube."""
    resolution, width, half = 128, 1.5 * 2 / 128, 0.5
    found = narrow_band(trimesh.creation.box((2 * half,) * 3), resolution, 1.5)
    points = vertex_positions(found.index, resolution)
    np.testing.assert_allclose(found.distance, np.abs(box_distance(points, half)), atol=1e-7)
    assert len(found.index) == cube_band_size(half, width, resolution)
    assert (np.abs(np.abs(points) - half).max(1) <= width * (1 + 1e-9)).mean() < 0.004


def cube_band_size(half, width, resolution):
    """Number of lattice vertices within `width` of the surface of a cube, counted slice by slice."""
    axis = np.abs(np.arange(resolution + 1) * (2 / resolution) - 1) - half
    a, b = axis[:, None], axis[None, :]
    outside, inside = np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2, np.maximum(a, b)
    signed = (np.sqrt(outside + max(c, 0) ** 2) + np.minimum(np.maximum(inside, c), 0) for c in axis)
    return sum(np.count_nonzero(np.abs(part) <= width * (1 + 1e-9)) for part in signed)


def test_band_after_lattice_motion():
    """A rotation by 90 degrees and a translation by whole cells permute the vertices of the band."""
    mesh, resolution, cell = MESHES["torus"](), 40, 2 / 40
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


@pytest.mark.parametrize("slabs", [2, 5, 40])
def test_band_by_number_of_slabs(slabs):
    """Slabs, including empty ones, have the same vertices and distances as the undivided band."""
    mesh = MESHES["soup"]()
    whole = narrow_band(mesh, 30, 2.0)
    divided = narrow_band_in_slabs(LatticeMesh.from_mesh(mesh, 30), 30, 2.0, map, slabs)
    np.testing.assert_array_equal(divided.index, whole.index)
    np.testing.assert_array_equal(divided.distance, whole.distance)


def test_band_of_mesh_outside_box():
    """No lattice vertex is close to a mesh outside the box."""
    mesh = trimesh.creation.icosphere(1, radius=0.1)
    mesh.apply_translation([3, 0, 0])
    assert len(narrow_band(mesh, 16, 2.0).index) == 0


def test_invalid_settings():
    """Resolutions beyond uint32 indices and bands without width raise errors that name the value."""
    mesh = trimesh.creation.box()
    with pytest.raises(ConfigError, match="resolution must be 1 to 1624 cells per axis, got 2000"):
        narrow_band(mesh, 2000, 3.0)
    with pytest.raises(ConfigError, match="band_voxels must be positive, got 0"):
        narrow_band(mesh, 64, 0.0)
