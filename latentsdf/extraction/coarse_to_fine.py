"""The zero set of a field on the blocks of a lattice, found coarse to fine.

Cells that cannot hold a zero, by how far the field can change across them, are not refined.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.extraction.octree import active_cells, crossing_vertices, halve, refine
from latentsdf.extraction.sparse_lattice import Blocks, Ints, Mask, allocate, lookup
from latentsdf.utils.errors import EmptyLevelSetError, LatentSDFError

SignedDistance = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 in model space to signed distances (N,), negative inside."""

_COARSEST = 32  # a field trained with distances clamped at 0.1 still passes the Lipschitz guard there


class Filling(Protocol):
    """Whatever has values for the vertices of a lattice."""

    def fill(self, blocks: Blocks, mask: Mask) -> None:
        """Put the values of the vertices under the mask into the lattice."""


class Sampler:
    """One field, evaluated in chunks and checked; remembers the range of what it saw."""

    def __init__(self, name: str, field: SignedDistance, level: float, chunk: int, device: torch.device | str) -> None:
        self.name, self.field, self.level, self.chunk, self.device = name, field, level, chunk, device
        self.low, self.high = math.inf, -math.inf

    def __call__(self, index: Ints, resolution: int) -> NDArray[np.float32]:
        """Values minus the level at lattice vertices (N, 3)."""
        axis = (torch.arange(resolution + 1, dtype=torch.float64) * (2 / resolution) - 1).float().to(self.device)
        values = np.empty(len(index), dtype=np.float32)
        for start in range(0, len(index), self.chunk):
            points = axis[torch.from_numpy(index[start : start + self.chunk]).to(self.device)]
            with torch.no_grad():
                found = self.field(points)
            values[start : start + self.chunk] = self._checked(found, points)
        return values - np.float32(self.level)

    def _checked(self, found: Tensor, points: Tensor) -> NDArray[np.float32]:
        if found.shape != points.shape[:1]:
            raise ValueError(
                f"the {self.name} field must return one distance a point, shape ({len(points)},), "
                f"got shape {tuple(found.shape)}."
            )
        bad = ~torch.isfinite(found)
        if bad.any():
            where = ", ".join(f"{x:.4f}" for x in points[bad][0].tolist())
            raise LatentSDFError(
                f"the {self.name} field is not finite at {int(bad.sum())} of {len(points)} points, "
                f"the first at ({where}). Check the code and the checkpoint for values that are not finite."
            )
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        return found.detach().to("cpu", torch.float32).numpy()

    def fill(self, blocks: Blocks, mask: Mask) -> None:
        """Evaluate the vertices under the mask into the lattice; those outside the box become +inf."""
        outside = blocks.padding() & mask
        blocks.value[outside] = np.inf
        mask = mask & ~outside
        blocks.value[mask] = self(blocks.index(mask), blocks.resolution)
        blocks.exact[mask | outside] = True

    def empty(self) -> EmptyLevelSetError:
        """What to raise when the field never crosses the level."""
        side = "outside" if self.low >= self.level else "inside" if self.high < self.level else "on either side"
        return EmptyLevelSetError(
            f"no surface: the {self.name} field takes values from {self.low:.4g} to {self.high:.4g} where it was "
            f"looked at, {side} of level {self.level:g}, and no lattice cell in [-1, 1]^3 has both signs. Check that "
            "the shape lies in model space and that negative means inside, train longer, or pass another `level`."
        )


def coarsest(resolution: int) -> int:
    """Cells per axis of the lattice on which `descend` starts."""
    while resolution % 2 == 0 and resolution // 2 >= _COARSEST:
        resolution //= 2
    return resolution


def descend(field: Sampler, resolution: int, lipschitz: float) -> list[Blocks]:
    """The field on lattices from coarse to fine, each around the cells of the one before that can hold its zero set.

    A point of a cell is within half a diagonal of a corner, so a cell without sign change can hold a zero only if
    some corner's magnitude is at most `lipschitz` times that.
    """
    blocks = allocate(coarsest(resolution))
    field.fill(blocks, blocks.stored())
    levels = [blocks]
    while blocks.resolution < resolution:
        edge = 2 / blocks.resolution
        guard = lipschitz * math.sqrt(3) / 2
        last = blocks.resolution * 2 == resolution
        active = active_cells(blocks, guard * edge)
        blocks, pending = refine(blocks, active, lipschitz * edge / 2, 0.0 if last else guard * edge / 2)
        field.fill(blocks, pending)
        levels.append(blocks)
    return levels


def settle(blocks: Blocks, field: Filling, *, exact: bool = True) -> Blocks:
    """Complete the lattice around every crossed edge; with `exact`, replace bounds at the ends of crossed edges."""
    while True:
        ends = crossing_vertices(blocks)
        grown, around = blocks.spread(ends, 1, 1, padding=True)
        pending = around & np.isnan(grown.value)
        if exact:
            pending[grown.rows(blocks)] |= ends & ~blocks.exact
        if not pending.any():
            return grown
        blocks = grown
        field.fill(blocks, pending)


def fill_around_zeros(blocks: Blocks, mask: Mask, field: Sampler, lipschitz: float) -> None:
    """Fill the vertices under the mask, with bounds where half the resolution already tells the sign."""
    half, corners = halve(blocks, mask)
    field.fill(half, corners)
    finer, _ = refine(half, active_cells(half, math.inf), lipschitz / half.resolution, 0.0)
    rows = blocks.rows(finer)
    shared = rows >= 0
    rows = rows[shared]
    known = mask[rows] & ~np.isnan(finer.value[shared])
    blocks.value[mask] = np.nan
    blocks.value[rows] = np.where(known, finer.value[shared], blocks.value[rows])
    blocks.exact[mask] = False
    blocks.exact[rows] |= known & finer.exact[shared]
    field.fill(blocks, mask & np.isnan(blocks.value))


def signs_of(levels: list[Blocks], index: Ints, resolution: int) -> NDArray[np.float32]:
    """Bounds at vertices (N, 3) that `descend` never refined: the sign of the cell they lie in."""
    value = np.full(len(index), np.nan, dtype=np.float32)
    for blocks in reversed(levels):
        left = np.flatnonzero(np.isnan(value))
        value[left] = lookup(blocks, index[left] // np.int32(resolution // blocks.resolution))
    return np.copysign(np.finfo(np.float32).tiny, value)
