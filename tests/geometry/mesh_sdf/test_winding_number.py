"""Fast generalized winding numbers against the sum of solid angles."""

import numpy as np
import pytest
import trimesh
from helpers.meshes import torus, with_faces

from latentsdf.geometry.mesh_sdf.winding_number import WindingNumberRule


def exact_winding_number(mesh, points):
    """Sum of signed solid angles over 4 pi (Van Oosterom and Strackee 1983)."""
    a, b, c = (np.asarray(mesh.triangles)[None, :, s] - points[:, None] for s in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    numerator = (a * np.cross(b, c)).sum(2)
    denominator = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return 2 * np.arctan2(numerator, denominator).sum(1) / (4 * np.pi)


@pytest.mark.slow
@pytest.mark.parametrize("removed", [0, 300])
def test_winding_number_matches_sum_of_solid_angles(removed):
    """The approximation is within 0.05 of the exact number for a closed torus and for one with a large hole."""
    mesh = torus()
    mesh = with_faces(mesh, mesh.faces[removed:])
    points = np.random.default_rng(0).uniform(-1, 1, (400, 3))
    number = WindingNumberRule(np.array(mesh.vertices), np.array(mesh.faces)).winding_number(points)
    np.testing.assert_allclose(number, exact_winding_number(mesh, points), atol=0.05)


def test_winding_number_of_hemisphere_at_its_center():
    """Half a sphere covers half of the full solid angle."""
    ball = trimesh.creation.icosphere(4)
    faces = np.array(ball.faces[ball.triangles_center[:, 2] > 0])
    number = WindingNumberRule(np.array(ball.vertices), faces).winding_number(np.zeros((1, 3)))
    assert number[0] == pytest.approx(faces.shape[0] / len(ball.faces), abs=0.02)
    assert number[0] == pytest.approx(0.5, abs=0.03)


def test_winding_number_of_reversed_mesh():
    """Inside a reversed closed mesh the number is -1, so nothing is inside."""
    mesh = torus()
    center_line = np.array([[0.6, 0.0, 0.0], [0.0, -0.6, 0.0]])
    outward = WindingNumberRule(np.array(mesh.vertices), np.array(mesh.faces))
    inward = WindingNumberRule(np.array(mesh.vertices), np.array(mesh.faces)[:, ::-1])
    np.testing.assert_allclose(outward.winding_number(center_line), 1, atol=0.02)
    np.testing.assert_allclose(inward.winding_number(center_line), -1, atol=0.02)
    assert outward.inside(center_line).all() and not inward.inside(center_line).any()


def test_winding_number_without_faces():
    """Without faces the winding number is zero everywhere."""
    rule = WindingNumberRule(np.zeros((3, 3)), np.zeros((0, 3), np.int64))
    assert (rule.winding_number(np.ones((4, 3))) == 0).all()
    assert not rule(np.ones((4, 3)), np.zeros(4, np.int64)).any()
