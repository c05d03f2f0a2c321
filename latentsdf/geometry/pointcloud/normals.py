"""PCA normal estimation for point clouds."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


def estimate_normals(
    points: Float[NDArray[np.float64], "N d"], neighbors: Int[NDArray[np.int64], "M k"]
) -> Float[NDArray[np.float64], "M d"]:
    """Estimate unoriented unit normals by PCA of the k nearest neighbors.

    Args:
        points: Points of the cloud (N, d).
        neighbors: For each of M queries, the indices (M, k) of its neighbors in `points`.

    Returns:
        Unit normals (M, d) of arbitrary sign: the eigenvector of the smallest eigenvalue of the covariance of the
        neighbors.
    """
    around = points[neighbors]
    centered = around - around.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.eigh(centered.transpose(0, 2, 1) @ centered)[1][:, :, 0])
