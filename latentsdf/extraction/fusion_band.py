"""The band of a shape as a mask for points anywhere: where the overfitting branch holds, and how far away that is."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from latentsdf.config.validation import require_finite
from latentsdf.extraction.coarse_to_fine import SignedDistance
from latentsdf.extraction.extract import band_cells
from latentsdf.extraction.sparse_lattice import SIDE

_BRICK = 4  # cells per axis of a brick, in which the distance to the band is kept


@dataclass(frozen=True)
class Band:
    """The cells around the zero set of a general branch in which the overfitting branch holds.

    Cells are stored as in `blocks`: stored cell (p, q, r) is lattice cell (p - 1, q - 1, r - 1).
    """

    resolution: int
    table: Tensor
    """(n, n, n): row of each block of 8^3 cells, -1 where there is none."""
    cells: Tensor
    """(B, 512) bool."""
    clearance: Tensor
    """(2 n, 2 n, 2 n): a lower bound of the distance from anywhere in a brick to the band, in model space."""

    def holds(self, points: Tensor) -> Tensor:
        """Which points (N, 3) lie in the band; ConfigError for points that are not finite."""
        if not len(self.cells):
            return torch.zeros(len(points), dtype=torch.bool, device=points.device)
        cell = self._stored(points)
        block, local = cell >> 3, cell & 7
        row = self.table[block[:, 0], block[:, 1], block[:, 2]]
        return (row >= 0) & self.cells[row, (local[:, 0] << 6) | (local[:, 1] << 3) | local[:, 2]]

    def for_tracing(self, field: SignedDistance) -> SignedDistance:
        """A field to trace rays through: the given one inside the band, steps that cannot jump over it elsewhere.

        A branch trained on clamped distances is no bound far from the surface.
        """
        cell = 2 / self.resolution

        def distance(points: Tensor) -> Tensor:
            brick = self._stored(points) // _BRICK
            step = self.clearance[brick[:, 0], brick[:, 1], brick[:, 2]].clamp(min=cell / 2)
            near = self.holds(points)
            if near.any():
                step[near] = field(points[near]).clamp(max=cell)
            return step

        return distance

    def _stored(self, points: Tensor) -> Tensor:
        require_finite(points)
        cell = ((points + 1) * (self.resolution / 2)).floor().clamp(0, self.resolution - 1).long()
        return cell + 1


def find_band(
    general: SignedDistance, *, resolution: int = 256, band_voxels: float = 3.0, device: torch.device | str = "cpu"
) -> Band:
    """The band in which `extract` fuses at a resolution; it has no cells where `general` has no surface."""
    blocks, cells = band_cells(general, resolution, band_voxels, device)
    bricks = 2 * len(blocks.table)
    occupied = np.zeros((bricks,) * 3, dtype=bool)
    half = SIDE // _BRICK
    within = np.asarray(cells.reshape(-1, half, _BRICK, half, _BRICK, half, _BRICK).any(axis=(2, 4, 6)))
    for offset in np.ndindex(half, half, half):
        a, b, c = (blocks.corner * half + np.array(offset)).T
        occupied[a, b, c] = within[:, offset[0], offset[1], offset[2]]
    # Between centres of bricks; a point and its closest may each be half a diagonal away from theirs.
    apart = distance_transform_edt(~occupied) if occupied.any() else np.full(occupied.shape, np.inf)
    clearance = np.clip((apart - 3**0.5) * _BRICK * 2 / resolution, 0, 2).astype(np.float32)
    return Band(resolution, *(torch.from_numpy(x).to(device) for x in (blocks.table, cells, clearance)))
