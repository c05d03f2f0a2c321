"""Coarse-to-fine search for the zero set of a field on sparse lattices.

Each level halves the cell size. A cell with edge length e is refined only if it can contain a zero. For a field with
Lipschitz constant L, a point of the cell is within sqrt(3)/2 e of some corner, so a cell without a sign change can
contain a zero only if min |value| over its corners is at most

    sqrt(3)/2 L e        (the Lipschitz guard).
"""

import math
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latentsdf.extraction.field import FieldSampler
from latentsdf.extraction.octree import active_cells, coarsen, crossing_vertices, refine
from latentsdf.extraction.sparse_lattice import Ints, Mask, SparseLattice, allocate, lookup

MIN_COARSE_RESOLUTION = 32
"""Smallest coarsest lattice by default: with 32 cells, a field trained on distances clamped at 0.1 still passes the
Lipschitz guard. With 16 it passes nowhere, and the next lattice is evaluated completely."""


@runtime_checkable
class VertexEvaluator(Protocol):
    """Interface of objects that compute the values of lattice vertices."""

    def evaluate(self, lattice: SparseLattice, mask: Mask) -> None:
        """Write the values of the masked vertices into the lattice."""


def coarsest_resolution(resolution: int, least: int = MIN_COARSE_RESOLUTION) -> int:
    """Cells per axis of the coarsest lattice: `resolution` halved as long as it stays an integer >= `least`."""
    while resolution % 2 == 0 and resolution // 2 >= least:
        resolution //= 2
    return resolution


def refine_around_zero_set(
    field: FieldSampler, resolution: int, lipschitz: float, coarsest: int = MIN_COARSE_RESOLUTION
) -> list[SparseLattice]:
    """Sample a field on lattices of doubling resolution, each restricted to the active cells of the previous one.

    Args:
        field: The field whose zero set is searched.
        resolution: Cells per axis of the finest lattice.
        lipschitz: Lipschitz constant assumed by the guard.
        coarsest: Smallest number of cells per axis of the coarsest lattice.

    Returns:
        The lattices from coarse to fine. The coarsest one is dense; the finest one contains bounds where the guard
        determines the sign, and evaluations elsewhere.
    """
    lattice = allocate(coarsest_resolution(resolution, coarsest))
    field.evaluate(lattice, lattice.vertex_mask())
    levels = [lattice]
    while lattice.resolution < resolution:
        edge = 2 / lattice.resolution
        guard = lipschitz * math.sqrt(3) / 2
        is_finest = lattice.resolution * 2 == resolution
        active = active_cells(lattice, guard * edge)
        lattice, pending = refine(lattice, active, lipschitz * edge / 2, 0.0 if is_finest else guard * edge / 2)
        field.evaluate(lattice, pending)
        levels.append(lattice)
    return levels


def complete_surface_cells(lattice: SparseLattice, field: VertexEvaluator, *, exact: bool = True) -> SparseLattice:
    """Extend a lattice along its surface until all cells around every sign-changing edge have all their corners.

    This is surface continuation: newly evaluated vertices can reveal further sign changes, so the step repeats until
    nothing is missing. It recovers parts of the surface that the Lipschitz guard missed.

    Args:
        lattice: Lattice that contains part of the surface.
        field: Source of the missing values.
        exact: Whether to replace bounds at the ends of sign-changing edges by evaluations.

    Returns:
        The completed lattice.
    """
    while True:
        ends = crossing_vertices(lattice)
        grown, neighborhood = lattice.dilate(ends, 1, 1, padding=True)
        pending = neighborhood & np.isnan(grown.value)
        if exact:
            pending[grown.rows_of(lattice)] |= ends & ~lattice.exact
        if not pending.any():
            return grown
        lattice = grown
        field.evaluate(lattice, pending)


def evaluate_coarse_to_fine(lattice: SparseLattice, mask: Mask, field: FieldSampler, lipschitz: float) -> None:
    """Evaluate the masked vertices in place, starting from the lattice with half the resolution.

    Vertices whose sign follows from the half-resolution values and the Lipschitz constant get bounds; only the
    remaining ones are evaluated.

    Args:
        lattice: The lattice; its values and flags are overwritten.
        mask: True for the vertices to evaluate (B, 512).
        field: The field.
        lipschitz: Lipschitz constant assumed for the field.
    """
    half, corners = coarsen(lattice, mask)
    field.evaluate(half, corners)
    finer, _ = refine(half, active_cells(half, math.inf), lipschitz / half.resolution, 0.0)
    rows = lattice.rows_of(finer)
    shared = rows >= 0
    rows = rows[shared]
    known = mask[rows] & ~np.isnan(finer.value[shared])
    lattice.value[mask] = np.nan
    lattice.value[rows] = np.where(known, finer.value[shared], lattice.value[rows])
    lattice.exact[mask] = False
    lattice.exact[rows] |= known & finer.exact[shared]
    field.evaluate(lattice, mask & np.isnan(lattice.value))


def sign_bounds(levels: list[SparseLattice], index: Ints, resolution: int) -> NDArray[np.float32]:
    """Bounds for vertices outside the refined cells: the smallest normal float32 with the sign of the coarse cell.

    Args:
        levels: Lattices from coarse to fine, as returned by `refine_around_zero_set`.
        index: (N, 3) lattice indices at `resolution`.
        resolution: Cells per axis of the lattice that `index` refers to.

    Returns:
        Bounds (N,).
    """
    value = np.full(len(index), np.nan, dtype=np.float32)
    for lattice in reversed(levels):
        missing = np.flatnonzero(np.isnan(value))
        value[missing] = lookup(lattice, index[missing] // np.int32(resolution // lattice.resolution))
    return np.copysign(np.finfo(np.float32).tiny, value)
