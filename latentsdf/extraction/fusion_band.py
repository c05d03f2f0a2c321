"""The fusion band of a shape as a point query: membership, and a lower bound of the distance to the band."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from latentsdf.extraction.extract import find_band_cells
from latentsdf.extraction.field import SignedDistance
from latentsdf.extraction.sparse_lattice import BLOCK_SIDE
from latentsdf.utils.finite import require_finite
from latentsdf.utils.torch_lattice import containing_cells

_BRICK_SIDE = 4  # cells per axis of a brick, the resolution at which the distance to the band is stored


@dataclass(frozen=True)
class FusionBand:
    """The cells around the zero set of the general branch in which the overfit branch is used.

    Cells are stored as in `extraction.sparse_lattice`: storage cell (p, q, r) is lattice cell (p - 1, q - 1, r - 1).
    """

    resolution: int
    """Cells per axis of [-1, 1]^3."""
    table: Int[Tensor, "n n n"]
    """Row of each block of 8^3 cells, -1 for blocks without a cell of the band."""
    cells: Bool[Tensor, "B 512"]
    """True for the cells of the band."""
    clearance: Float[Tensor, "m m m"]
    """For each brick of 4^3 cells, m = 2 n per axis: a lower bound of the distance from its points to the band."""

    def contains(self, points: Float[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
        """Whether each point lies in a cell of the band.

        Raises:
            ConfigError: A point is not finite.
        """
        return self._contains_cells(self._storage_cells(points))

    def _contains_cells(self, cell: Int[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
        if not len(self.cells):
            return torch.zeros(len(cell), dtype=torch.bool, device=cell.device)
        block, local = cell >> 3, cell & 7
        row = self.table[block[:, 0], block[:, 1], block[:, 2]]
        return (row >= 0) & self.cells[row, (local[:, 0] << 6) | (local[:, 1] << 3) | local[:, 2]]

    def tracing_field(self, field: SignedDistance) -> SignedDistance:
        """Create a field with safe step lengths for sphere tracing.

        A branch trained on clamped distances overestimates the distance far from the surface, so sphere tracing would
        step over thin parts. The returned field has `field`, clamped to one cell, inside the band; outside it returns
        the distance to the band, at least half a cell.
        """
        cell_size = 2 / self.resolution

        def distance(points: Tensor) -> Tensor:
            cell = self._storage_cells(points)
            brick = cell // _BRICK_SIDE
            step = self.clearance[brick[:, 0], brick[:, 1], brick[:, 2]].clamp(min=cell_size / 2)
            # A brick without clearance may contain the band; few points of an image are in one.
            near = torch.nonzero(step <= cell_size / 2).squeeze(1)
            inside = near[self._contains_cells(cell[near])]
            if len(inside):
                step[inside] = field(points[inside]).clamp(max=cell_size)
            return step

        return distance

    def _storage_cells(self, points: Tensor) -> Tensor:
        require_finite(points)
        return containing_cells(points, self.resolution) + 1


def find_band(
    general: SignedDistance, *, resolution: int = 256, band_voxels: float = 3.0, device: torch.device | str = "cpu"
) -> FusionBand:
    """Compute the fusion band that `extract` uses with the same settings.

    Args:
        general: Signed distance of the general branch.
        resolution: Cells per axis of [-1, 1]^3.
        band_voxels: Dilation of the band, in cells of a 512^3 lattice.
        device: Device of the fields and of the band.

    Returns:
        The band; it has no cells if `general` has no surface.
    """
    lattice, cells = find_band_cells(general, resolution, band_voxels, device)
    bricks = 2 * len(lattice.table)
    occupied = np.zeros((bricks,) * 3, dtype=bool)
    half = BLOCK_SIDE // _BRICK_SIDE
    within = np.asarray(cells.reshape(-1, half, _BRICK_SIDE, half, _BRICK_SIDE, half, _BRICK_SIDE).any(axis=(2, 4, 6)))
    for offset in np.ndindex(half, half, half):
        a, b, c = (lattice.corner * half + np.array(offset)).T
        occupied[a, b, c] = within[:, offset[0], offset[1], offset[2]]
    # Distances between brick centers; a point and its closest point can each be half a brick diagonal from the center.
    between_centers = distance_transform_edt(~occupied) if occupied.any() else np.full(occupied.shape, np.inf)
    clearance = np.clip((between_centers - 3**0.5) * _BRICK_SIDE * 2 / resolution, 0, 2).astype(np.float32)
    return FusionBand(resolution, *(torch.from_numpy(x).to(device) for x in (lattice.table, cells, clearance)))
