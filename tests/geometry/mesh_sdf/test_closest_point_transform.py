"""Closest point transform of single triangles and of slabs against brute force."""

import numpy as np
import pytest
import trimesh
from helpers.meshes import MESHES, brute_force_distance

from latentsdf.geometry.mesh_sdf.closest_point_transform import face_frames, scan_convert_mesh
from latentsdf.geometry.mesh_sdf.narrow_band import LatticeMesh


def test_orthonormal_outward_face_frames():
    """Outward vectors are unit, orthogonal to the normal and the edge, and point away from the opposite corner."""
    mesh = MESHES["torus"]()
    v, faces = np.array(mesh.vertices), np.array(mesh.faces)
    normal, outward, valid = face_frames(v, faces)
    assert valid.all()
    np.testing.assert_allclose(normal, mesh.face_normals, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(outward, axis=2), 1, atol=1e-12)
    np.testing.assert_allclose(np.einsum("fsx,fx->fs", outward, normal), 0, atol=1e-12)
    corners = v[faces]
    edges = np.roll(corners, -1, axis=1) - corners
    np.testing.assert_allclose(np.einsum("fsx,fsx->fs", outward, edges), 0, atol=1e-12)
    opposite = np.roll(corners, -2, axis=1) - corners
    assert (np.einsum("fsx,fsx->fs", outward, opposite) < 0).all()


def test_sliver_without_frame():
    """A triangle whose height is below the limit is marked invalid."""
    v = np.array([[0.0, 0, 0], [5, 0, 0], [2, 1e-7, 0], [2, 1, 0]])
    assert face_frames(v, np.array([[0, 1, 2], [0, 1, 3]]))[2].tolist() == [False, True]


@pytest.mark.parametrize("seed", range(6))
def test_band_of_one_triangle_matches_brute_force(seed):
    """Prism, wedges and cones of one triangle together contain every vertex of its band, with the exact distance."""
    corners = np.random.default_rng(seed).uniform(-0.8, 0.8, (3, 3))
    mesh = trimesh.Trimesh(corners, [[0, 1, 2]], process=False)
    index, distance, face = scan_convert_mesh(*LatticeMesh.from_mesh(mesh, 16), 16, 3.0, 0, 17)
    x = np.stack(np.unravel_index(np.arange(17**3), (17,) * 3), axis=1) / 8 - 1
    truth = brute_force_distance(mesh, x) * 8
    np.testing.assert_array_equal(index, np.flatnonzero(truth <= 3.0))
    np.testing.assert_allclose(distance, truth[index], atol=2e-6)
    assert (face == 0).all()


def test_concatenated_slabs():
    """Concatenated slabs have the same vertices and distances as one slab."""
    mesh = LatticeMesh.from_mesh(MESHES["soup"](), 24)
    whole = scan_convert_mesh(*mesh, 24, 2.5, 0, 25)
    slabs = [scan_convert_mesh(*mesh, 24, 2.5, begin, end) for begin, end in ((0, 7), (7, 8), (8, 25))]
    for field in range(2):
        np.testing.assert_array_equal(np.concatenate([slab[field] for slab in slabs]), whole[field])
