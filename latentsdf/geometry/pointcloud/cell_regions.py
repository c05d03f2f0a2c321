"""Inside and outside of a point cloud on the cells of a coarse lattice.

The box [-extent, extent]^d is divided into R^d cells. A cell is occupied if it or one of its 3^d - 1 neighbors contains
a point. Of the others, those that are connected with the boundary of the box through faces of cells are outside and the
rest is inside (flood fill, as in the release of HeatSDF, Weidemaier et al. 2025). A flood fill needs a cloud without
gaps of more than three cells, and calls the cavity of a hollow solid inside.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

Floats = NDArray[np.float64]


class CellRegions:
    """Centers of the cells around a cloud, inside and outside of it.

    Attributes:
        edge: Edge length of a cell.
        near: Centers (K, d) of cells within a given distance of an occupied one.
        inside: Centers (I, d) of cells inside.
        outside: Centers (O, d) of cells outside.
    """

    def __init__(
        self,
        points: Float[Floats, "N d"],
        cells: int,
        extent: float,
        *,
        near: float,
        signed_distance: Callable[[Floats], Floats] | None = None,
    ) -> None:
        """Label the cells.

        Args:
            points: Points of the cloud; those outside of the box count for the nearest cell.
            cells: Number R of cells per axis.
            extent: Half side of the box.
            near: Distance from the cloud up to which cells belong to `near`, rounded up to whole cells.
            signed_distance: Maps points (M, d) to signed distances (M,), whose sign replaces the flood fill.
        """
        dim = points.shape[1]
        self.edge = 2 * extent / cells
        occupied = np.zeros((cells,) * dim, dtype=np.bool_)
        index = np.floor((points + extent) / self.edge).astype(np.int64).clip(0, cells - 1)
        occupied[tuple(index.T)] = True
        neighbors = np.ones((3,) * dim, dtype=np.bool_)
        layers = max(1, int(np.ceil(near / self.edge)))
        self.near = self._centers(binary_dilation(occupied, neighbors, iterations=layers), extent)
        free = ~binary_dilation(occupied, neighbors)
        if signed_distance is None:
            outside = _connected_with_boundary(free)
            self.inside, self.outside = self._centers(free & ~outside, extent), self._centers(outside, extent)
        else:
            centers = self._centers(free, extent)
            negative = signed_distance(centers) < 0
            self.inside, self.outside = centers[negative], centers[~negative]

    def _centers(self, mask: NDArray[np.bool_], extent: float) -> Floats:
        return np.asarray((np.argwhere(mask) + 0.5) * self.edge - extent, dtype=np.float64)


def _connected_with_boundary(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the cells of components, connected through faces, that touch the boundary of the lattice."""
    component, _ = label(free)
    on_boundary = np.ones_like(free)
    on_boundary[(slice(1, -1),) * free.ndim] = False
    touching = np.unique(component[on_boundary & free])
    return np.isin(component, touching[touching > 0])
