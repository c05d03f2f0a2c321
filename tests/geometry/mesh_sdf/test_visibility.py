"""Orientation by visibility of meshes whose true orientation is known."""

import numpy as np
import trimesh

from latentsdf.geometry.mesh_sdf.visibility import _patches, orient_by_visibility


def test_reversal_of_flipped_sphere_faces():
    """Every reversed face gets sign -1, every other face +1, and none is a sheet."""
    ball = trimesh.creation.icosphere(3)
    flipped = np.random.default_rng(0).random(len(ball.faces)) < 0.4
    faces = np.where(flipped[:, None], ball.faces[:, ::-1], ball.faces)
    orientation = orient_by_visibility(np.array(ball.vertices), faces)
    np.testing.assert_array_equal(orientation.sign, np.where(flipped, -1, 1))
    assert not orientation.is_sheet.any()


def test_exclusion_of_duplicate_and_degenerate_faces():
    """One of two copies of a face counts, and a face without area does not."""
    ball = trimesh.creation.icosphere(2)
    faces = np.concatenate([ball.faces, ball.faces[:5, ::-1], [[0, 1, 1]]])
    sign = orient_by_visibility(np.array(ball.vertices), faces).sign
    np.testing.assert_array_equal(sign, [1] * len(ball.faces) + [0] * 6)


def test_exclusion_of_hidden_inner_wall():
    """A closed part inside another one is visible from nowhere."""
    outer, inner = trimesh.creation.icosphere(2), trimesh.creation.box((0.5, 0.5, 0.5))
    both = trimesh.util.concatenate([outer, inner])
    sign = orient_by_visibility(np.array(both.vertices), np.array(both.faces)).sign
    np.testing.assert_array_equal(sign, [1] * len(outer.faces) + [0] * len(inner.faces))


def test_sheet_of_flat_patch():
    """A square that rays reach from both sides is a sheet, and so is its duplicate."""
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    orientation = orient_by_visibility(square, np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0]]))
    assert orientation.is_sheet.all()


def test_orientation_of_faces_hidden_in_cavity():
    """Almost no ray leaves a flask with a narrow neck, so its inner faces follow the outer faces of the same patch."""
    profile = [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.01, 0.5), (0.01, 0.1), (0.4, 0.1), (0.4, -0.4), (0, -0.4)]
    flask = trimesh.creation.revolve(profile, sections=24)
    assert flask.is_watertight and flask.volume > 0
    flipped = np.random.default_rng(0).random(len(flask.faces)) < 0.5
    faces = np.where(flipped[:, None], flask.faces[:, ::-1], flask.faces)
    np.testing.assert_array_equal(orient_by_visibility(flask.vertices, faces).sign, np.where(flipped, -1, 1))


def test_patch_parity_of_reversed_faces():
    """Within one patch, the parity separates the faces with one orientation from those with the other."""
    ball = trimesh.creation.icosphere(2)
    flipped = np.random.default_rng(1).random(len(ball.faces)) < 0.5
    patch, parity = _patches(np.where(flipped[:, None], ball.faces[:, ::-1], ball.faces))
    assert (patch == 0).all()
    assert np.array_equal(parity, flipped) or np.array_equal(parity, ~flipped)


def test_parity_of_moebius_strip():
    """A patch that is not orientable has no consistent parity."""
    n = 12
    a, b = np.arange(n) * 2, np.arange(n) * 2 + 1
    c, d = np.roll(a, -1), np.roll(b, -1)
    c[-1], d[-1] = b[0], a[0]
    faces = np.concatenate([np.stack([a, c, b], axis=1), np.stack([c, d, b], axis=1)])
    patch, parity = _patches(faces)
    assert (patch == 0).all() and (parity == 0).all()
