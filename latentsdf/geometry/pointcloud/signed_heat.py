"""Generalized signed distance to an oriented point cloud by the heat method (Feng and Crane 2024).

1. Diffuse the normals, weighted by the areas of their points, for a short time: X = (1 - t lap)^-1 sum_i A_i n_i.
2. Normalize: Y = X / |X|, which is close to the gradient of the signed distance.
3. Integrate: find the function whose gradient is closest to Y and which vanishes on the cloud.

It closes holes smoothly and tolerates a share of wrong normals. The release solves steps 1 and 3 by sums over all
points and by sparse matrices; here both use cosine transforms on the same kind of lattice (`lattice_solver`). The time
step is the square of the point spacing, as in the release, or of the lattice spacing if this is larger. Farther away
than about 15 square roots of t, X is lost in the rounding of the transforms. There, time steps 16 times as long take
over.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.geometry.pointcloud.lattice_solver import VertexLattice

Floats = NDArray[np.float64]

_RESOLVED = 1e-7  # |X| relative to its maximum down to which its direction is used
_TIME_FACTOR = 16.0
_SCREENING_CELLS = 4.0  # product of the screening weight and the lattice spacing


def signed_heat_distance(
    points: Float[Floats, "N d"],
    normals: Float[Floats, "N d"],
    areas: Float[Floats, " N"],
    spacing: float,
    lattice: VertexLattice,
) -> Floats:
    """Compute the distance at the vertices of a lattice.

    Args:
        points: Points in the box of the lattice.
        normals: Outward unit normals.
        areas: Area (in 2D: length) that each point represents.
        spacing: Typical distance between neighbors.
        lattice: The lattice.

    Returns:
        Signed distances, negative inside, in the shape of the lattice.
    """
    spread = lattice.interpolation(points).T
    sources = [np.asarray(spread @ (areas * normals[:, axis])).reshape(lattice.shape) for axis in range(lattice.dim)]
    time = max(spacing, lattice.spacing) ** 2
    direction = [np.zeros(lattice.shape) for _ in sources]
    open_vertices = np.ones(lattice.shape, dtype=np.bool_)
    while open_vertices.any():
        diffused = [lattice.diffuse(source, time) for source in sources]
        length = np.sqrt(sum(component**2 for component in diffused))
        is_last = time > lattice.extent**2
        resolved = open_vertices & ((length > _RESOLVED * length.max()) | is_last)
        for component, found in zip(direction, diffused, strict=True):
            component[resolved] = found[resolved] / np.maximum(length[resolved], 1e-300)
        open_vertices &= ~resolved
        time *= _TIME_FACTOR
    return lattice.integrate(direction, points, areas, _SCREENING_CELLS / lattice.spacing)
