"""Marching cubes on sparse lattices."""

import numpy as np
import pytest
import trimesh
from helpers.mesh_assertions import assert_closed

from latentsdf.extraction.marching_cubes import _case_tables, marching_cubes
from latentsdf.extraction.sparse_lattice import SparseLattice, allocate


def _filled(resolution: int, values: np.ndarray | float) -> SparseLattice:
    """A dense lattice with the given values inside the box and +inf in the padding layer."""
    lattice = allocate(resolution)
    lattice.value[lattice.vertex_mask()] = np.inf
    lattice.value[lattice.vertex_mask() & ~lattice.padding_mask()] = values
    return lattice


def test_closed_meshes_of_random_values():
    """Random values on a lattice contain each of the 256 cases many times, in many combinations of adjacent cells."""
    lattice = allocate(16)
    lattice.value[lattice.vertex_mask()] = np.inf
    inside = lattice.vertex_mask() & ~lattice.padding_mask()
    lattice.value[inside] = np.random.default_rng(0).uniform(-1, 1, inside.sum())
    assert_closed(trimesh.Trimesh(*marching_cubes(lattice), process=False))


def test_octahedron_around_single_inside_vertex() -> None:
    """One vertex of value -1 among vertices of value 1 is enclosed by its six edge midpoints."""
    lattice = _filled(8, 1.0)
    lattice.value[(lattice.value == 1.0) & _at(lattice, (4, 4, 4))] = -1.0
    vertices, faces = marching_cubes(lattice)
    midpoints = np.concatenate((np.eye(3), -np.eye(3))) / 8
    assert sorted(map(tuple, vertices.round(12))) == sorted(map(tuple, midpoints.round(12)))
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(4 / 3 / 8**3)


def _at(lattice: SparseLattice, index: tuple[int, int, int]) -> np.ndarray:
    """Mask of one lattice vertex."""
    mask = np.zeros(lattice.value.shape, dtype=bool)
    stored = np.array(index) + 1
    row = lattice.table[tuple(stored >> 3)]
    x, y, z = stored & 7
    mask[row, x << 6 | y << 3 | z] = True
    return mask


def test_complementary_cases_of_one_corner() -> None:
    """A case with a single inside or a single outside corner is one triangle; empty and full cases have none."""
    _, sizes = _case_tables()
    assert sizes[0] == sizes[255] == 0
    assert all(sizes[1 << corner] == sizes[255 ^ 1 << corner] == 1 for corner in range(8))
