"""Refinement, coarsening and active cells against their definitions."""

import math

import numpy as np
import torch
from helpers.fields import torus

from latentsdf.extraction.field import FieldSampler
from latentsdf.extraction.octree import active_cells, coarsen, crossing_cells, crossing_vertices, refine
from latentsdf.extraction.sparse_lattice import SparseLattice, allocate, lookup


def _sampled(resolution: int) -> SparseLattice:
    lattice = allocate(resolution)
    FieldSampler("torus", torus, 0.0, 10_000, "cpu").evaluate(lattice, lattice.vertex_mask())
    return lattice


def _exact(index: np.ndarray, resolution: int) -> np.ndarray:
    return torus(torch.from_numpy(index).float() * 2 / resolution - 1).numpy()


def test_sign_and_magnitude_of_bounds() -> None:
    """With the true Lipschitz constant, every value of a refined lattice is a valid bound or a copied evaluation."""
    parent = _sampled(32)
    child, pending = refine(parent, active_cells(parent, math.inf), 1 / 32, 0.0)
    known = child.vertex_mask() & ~child.padding_mask() & ~np.isnan(child.value)
    exact = _exact(child.vertex_indices(known), 64)
    bound = child.value[known]
    assert not (known & pending).any() and known.sum() > 0.9 * 65**3
    assert (np.abs(bound) <= np.abs(exact) + 1e-6).all()
    assert (np.sign(bound) == np.sign(exact))[np.abs(exact) > 1e-6].all()
    np.testing.assert_allclose(
        child.value[child.exact & known], _exact(child.vertex_indices(child.exact & known), 64), atol=1e-6
    )


def test_active_cells_by_threshold() -> None:
    """A cell is active exactly if its corners differ in sign or one of them is at most the threshold."""
    lattice = _sampled(16)
    active = active_cells(lattice, 0.1) & lattice.vertex_mask() & ~lattice.padding_mask()
    cells = lattice.vertex_indices(lattice.vertex_mask() & ~lattice.padding_mask())
    cells = cells[(cells < 16).all(axis=1)]
    corners = np.stack([_exact(cells + np.array(offset), 16) for offset in np.ndindex(2, 2, 2)], axis=1)
    expected = ((corners < 0).any(1) & (corners >= 0).any(1)) | (np.abs(corners).min(1) <= 0.1)
    found = {tuple(index) for index in lattice.vertex_indices(active) if max(index) < 16}
    assert found == {tuple(index) for index in cells[expected]}


def test_ends_of_crossing_edges() -> None:
    """Every marked vertex has a lattice neighbor of the other sign, and every such vertex is marked."""
    lattice = _sampled(16)
    marked = {tuple(index) for index in lattice.vertex_indices(crossing_vertices(lattice))}
    inside = lattice.vertex_indices(lattice.vertex_mask() & ~lattice.padding_mask())
    sign = lookup(lattice, inside) < 0
    expected = np.zeros(len(inside), dtype=bool)
    for step in np.concatenate((np.eye(3, dtype=np.int32), -np.eye(3, dtype=np.int32))):
        neighbor = lookup(lattice, inside + step)
        expected |= np.isfinite(neighbor) & ((neighbor < 0) != sign)
    assert marked == {tuple(index) for index in inside[expected]}
    assert crossing_cells(lattice).any()


def test_coverage_of_coarse_lattice() -> None:
    """The corners, inside the box, of the coarse cell of every masked vertex are marked."""
    lattice = allocate(32)
    mask = lattice.vertex_mask() & ~lattice.padding_mask()
    mask &= np.random.default_rng(0).random(mask.shape) < 0.001
    half, corners = coarsen(lattice, mask)
    marked = {tuple(index) for index in half.vertex_indices(corners)}
    for index in lattice.vertex_indices(mask):
        corners_of_cell = index // 2 + np.array(list(np.ndindex(2, 2, 2)))
        assert {tuple(corner) for corner in corners_of_cell if max(corner) <= 16} <= marked
