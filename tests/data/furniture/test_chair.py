"""Tests of chairs."""

from dataclasses import replace

import numpy as np

from latentsdf.data.furniture import parameters
from latentsdf.data.furniture.chair import Chair
from latentsdf.data.furniture.surface import boundary_mesh


def test_leaning_back_and_mirror_symmetry() -> None:
    """The back leans toward -z, and the chair is symmetric in x."""
    member = replace(parameters("chair", 0), arms=False, back_lean=12.0)
    assert isinstance(member, Chair)
    chair = boundary_mesh(member.solid())
    top = chair.vertices[chair.vertices[:, 1] > member.seat_height + 0.9 * member.back_height]
    assert top[:, 2].max() < -member.seat_depth / 2
    np.testing.assert_allclose(chair.bounds[0, 0], -chair.bounds[1, 0], atol=1e-3)
    np.testing.assert_allclose(chair.center_mass[0], 0.0, atol=1e-3)
