"""Tuple arithmetic against numpy."""

import numpy as np

from latentsdf.geometry.mesh_sdf.vector3 import cross, dot, row, scale, subtract


def test_vector_operations_match_numpy():
    """Every operation equals its numpy counterpart."""
    table = np.random.default_rng(0).normal(size=(2, 3))
    a, b = row(table, 0), row(table, 1)
    assert a == tuple(table[0])
    np.testing.assert_array_equal(subtract(a, b), table[0] - table[1])
    np.testing.assert_array_equal(scale(a, 2.5), table[0] * 2.5)
    np.testing.assert_allclose(dot(a, b), table[0] @ table[1], rtol=1e-15)
    np.testing.assert_allclose(cross(a, b), np.cross(table[0], table[1]), rtol=1e-14)
