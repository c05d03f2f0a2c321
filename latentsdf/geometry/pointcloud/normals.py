"""Tangent planes of a point cloud, from neighbours."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


def estimate_normals(
    points: Float[NDArray[np.float64], "N d"], neighbours: Int[NDArray[np.int64], "N K"]
) -> Float[NDArray[np.float64], "N d"]:
    """Unit normals up to their sign: the directions in which the neighbours, rows of `points`, vary least."""
    around = points[neighbours]
    centred = around - around.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1][:, :, 0])
