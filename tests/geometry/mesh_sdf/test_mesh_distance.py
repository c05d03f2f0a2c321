"""Signed distance at points against analytic shapes, with every sign method and backend."""

import sys

import numpy as np
import pytest
import trimesh
from helpers.meshes import box_distance, flipped_torus, torus, with_faces

from latentsdf.geometry.mesh_sdf.mesh_distance import BACKENDS, MeshDistance
from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.utils.errors import ConfigError, MeshError, MissingExtraError


def points(count=4000, seed=0):
    """Points (N, 3) uniform in the box."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3))


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["auto", "pseudonormal", "winding", "visibility"])
def test_sphere_and_box_match_closed_form(sign):
    """Every sign method gives the analytic distance of closed meshes, with high confidence."""
    x = points()
    ball = MeshDistance(trimesh.creation.icosphere(4, radius=0.7), sign)
    np.testing.assert_allclose(ball(x), np.linalg.norm(x, axis=1) - 0.7, atol=3e-3)
    truth = box_distance(x, [0.5, 0.3, 0.65])
    np.testing.assert_allclose(MeshDistance(trimesh.creation.box((1, 0.6, 1.3)), sign)(x), truth, atol=1e-12)
    assert ball.report.confidence > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["auto", "pseudonormal", "winding", "visibility"])
def test_sign_of_inverted_mesh(sign):
    """A mesh that is inside out as a whole is reversed."""
    mesh = torus()
    inverted = with_faces(mesh, mesh.faces[:, ::-1])
    np.testing.assert_array_equal(MeshDistance(inverted, sign)(points()) < 0, MeshDistance(mesh)(points()) < 0)


@pytest.mark.slow
def test_sign_method_chosen_by_auto():
    """A clean mesh uses pseudonormals, one with flipped faces visibility, intersecting closed parts winding numbers."""
    assert MeshDistance(torus()).report.method == "pseudonormal"
    assert MeshDistance(flipped_torus(0.2)).report.method == "visibility"
    pair = trimesh.util.concatenate([torus(), trimesh.creation.icosphere(3, radius=0.5)])
    assert MeshDistance(pair).report.method == "winding"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "half flipped", "doubled", "holes", "wall", "unwelded"])
def test_sign_of_damaged_torus_matches_clean_one(damage):
    """Automatic signs are those of the undamaged mesh, up to 0.2 % of the points if faces are missing."""
    mesh = torus()
    faces = np.array(mesh.faces)
    wall = trimesh.Trimesh([[0.45, -0.1, -0.1], [0.75, -0.1, -0.1], [0.6, 0.1, 0.1]], [[0, 1, 2]], process=False)
    kept = faces[np.random.default_rng(1).random(len(faces)) > 0.02]
    damaged = {
        "flipped": flipped_torus(0.2),
        "half flipped": flipped_torus(0.5),
        "doubled": with_faces(mesh, np.concatenate([faces, faces[:, ::-1]])),
        "holes": with_faces(mesh, kept),
        "wall": trimesh.util.concatenate([mesh, wall]),
        "unwelded": trimesh.Trimesh(mesh.triangles.reshape(-1, 3), np.arange(faces.size).reshape(-1, 3), process=False),
    }[damage]
    wrong = (MeshDistance(damaged)(points()) < 0) != (MeshDistance(mesh)(points()) < 0)
    assert wrong.mean() <= (0.002 if damage == "holes" else 0)


def test_sign_of_overlapping_parts():
    """A point is inside two intersecting closed parts if it is inside either."""
    a, b = trimesh.creation.icosphere(3, radius=0.5), trimesh.creation.box((0.4, 0.4, 1.6))
    x = points()
    either = (MeshDistance(a)(x) < 0) | (MeshDistance(b)(x) < 0)
    np.testing.assert_array_equal(MeshDistance(trimesh.util.concatenate([a, b]))(x) < 0, either)


def test_distance_after_rigid_motion():
    """The distance of a moved mesh at moved points is the original distance."""
    motion = trimesh.transformations.random_rotation_matrix(np.array([0.1, 0.7, 0.4]))
    motion[:3, 3] = [3, -2, 5]
    moved = torus()
    moved.apply_transform(motion)
    x = points()
    there = trimesh.transform_points(x, motion)
    np.testing.assert_allclose(MeshDistance(moved)(there), MeshDistance(torus())(x), atol=1e-9)


def test_closest_point_on_its_face():
    """The closest point is at the unsigned distance, in the plane of the closest face."""
    mesh = torus()
    distance, face, closest = MeshDistance(mesh).unsigned(points())
    np.testing.assert_allclose(np.linalg.norm(points() - closest, axis=1), distance, atol=1e-12)
    np.testing.assert_allclose(((closest - mesh.triangles_center[face]) * mesh.face_normals[face]).sum(1), 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("mesh", [trimesh.creation.box((1, 0.6, 1.3)), torus()], ids=["box", "torus"])
def test_backend_matches_brute_force(backend, mesh):
    """Distance, face, closest point and sign equal the minimum over all faces, up to the accuracy of the backend."""
    try:
        distance = MeshDistance(mesh, backend=backend)
    except MissingExtraError as error:
        pytest.skip(str(error))
    x = points(60)
    corners = np.asarray(mesh.triangles, dtype=np.float64)
    every = [[closest_point_on_triangle(*p, corners, f) for f in range(len(corners))] for p in x]
    truth = np.sqrt([min(row)[0] for row in every])
    allowed = 2e-2 if backend == "mesh_to_sdf" else 1e-6
    unsigned, face, closest = distance.unsigned(x)
    np.testing.assert_allclose(unsigned, truth, atol=allowed)
    np.testing.assert_allclose(np.linalg.norm(x - closest, axis=1), unsigned, atol=1e-6)
    at_face = np.sqrt([row[f][0] for row, f in zip(every, face, strict=True)])
    np.testing.assert_allclose(at_face, truth, atol=allowed)
    inside = mesh.contains(x)
    clear = truth > allowed
    np.testing.assert_array_equal(distance(x)[clear] < 0, inside[clear])


@pytest.mark.parametrize(
    ("backend", "package", "extra"),
    [("open3d", "open3d", "open3d"), ("mesh_to_sdf", "mesh_to_sdf.surface_point_cloud", "mesh-to-sdf")],
)
def test_message_for_missing_backend(monkeypatch, backend, package, extra):
    """The error of a backend that cannot be imported names the extra to install and the reason."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf"pip install 'latentsdf\[{extra}\]'; importing it failed with: .*{backend}"
    ):
        MeshDistance(torus(), backend=backend)


def test_invalid_input():
    """A mesh without faces, an unknown backend and points of the wrong shape raise errors that name the problem."""
    with pytest.raises(MeshError, match="no faces"):
        MeshDistance(trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), int)))
    with pytest.raises(ConfigError, match="backend must be one of latentsdf, igl, open3d, mesh_to_sdf; got 'bvh'"):
        MeshDistance(torus(), backend="bvh")
    with pytest.raises(ValueError, match=r"points must have shape \(N, 3\), got \(5, 2\)"):
        MeshDistance(torus())(np.zeros((5, 2)))
