"""Generalized signed distance by the heat method."""

import numpy as np
import pytest
from helpers.points import sphere_points

from latentsdf.geometry.pointcloud.lattice_solver import VertexLattice
from latentsdf.geometry.pointcloud.signed_heat import signed_heat_distance


def _distance(lattice: VertexLattice, center: np.ndarray) -> np.ndarray:
    axis = np.linspace(-lattice.extent, lattice.extent, lattice.resolution + 1)
    vertices = np.stack(np.meshgrid(*[axis] * lattice.dim, indexing="ij"), axis=-1)
    return np.linalg.norm(vertices - center, axis=-1)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_circle_with_gap(missing: float) -> None:
    """The distance to a circle is exact to a fraction of a cell; a gap in it is closed."""
    angle = np.linspace(0, 2 * np.pi * (1 - missing / (2 * np.pi)), 1500, endpoint=False)
    normals = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    lattice = VertexLattice(2, 96, 1.1)
    center = np.array([0.1, -0.2])
    areas = np.full(1500, 0.7 * 2 * np.pi / 1500)
    found = signed_heat_distance(center + 0.7 * normals, normals, areas, 0.003, lattice)
    exact = _distance(lattice, center) - 0.7
    clear = exact > 0.3 - 0.7  # away from the center, where the gradient jumps
    assert np.abs(found - exact)[clear].mean() < (0.001 if missing == 0 else 0.01)
    assert ((found < 0) == (exact < 0)).mean() > (0.998 if missing == 0 else 0.99)


def test_spherical_shell() -> None:
    """Between two spheres with opposite normals the distance is negative, and positive in the cavity and outside."""
    outer, inner = sphere_points(6000, 0.9), sphere_points(2000, 0.45, seed=1)
    points = np.concatenate((outer, inner))
    normals = np.concatenate((outer / 0.9, -inner / 0.45))
    areas = np.concatenate((np.full(6000, 4 * np.pi * 0.81 / 6000), np.full(2000, 4 * np.pi * 0.2025 / 2000)))
    lattice = VertexLattice(3, 32, 1.1)
    found = signed_heat_distance(points, normals, areas, 0.03, lattice)
    radius = _distance(lattice, np.zeros(3))
    exact = np.maximum(radius - 0.9, 0.45 - radius)
    clear = np.abs(exact) > 0.05
    assert (np.sign(found) == np.sign(exact))[clear].mean() > 0.995
    assert np.abs(found - exact).mean() < 0.02


def test_inverted_normals() -> None:
    """A tenth of wrong normals leaves the signs unchanged away from the curve."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    normals = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    lattice = VertexLattice(2, 64, 1.1)
    flips = np.where(np.random.default_rng(1).uniform(size=2000) < 0.1, -1, 1)[:, None]
    found = signed_heat_distance(0.6 * normals, flips * normals, np.full(2000, 0.0019), 0.002, lattice)
    exact = _distance(lattice, np.zeros(2)) - 0.6
    assert ((found < 0) == (exact < 0))[np.abs(exact) > 0.05].all()
