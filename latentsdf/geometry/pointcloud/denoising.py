"""Denoising of point clouds by projection onto locally fitted quadrics.

Around a point p, the k nearest neighbors have the covariance eigenvalues l_0 <= l_1 <= ... and the PCA normal n. In
coordinates (t, h) relative to p, with h along n and t in the tangent plane divided by the radius of the neighborhood,
the surface is the osculating jet of degree 2 (Cazals and Pouget 2005)

    h(t) = c_0 + sum_i a_i t_i + sum_ij b_ij t_i t_j,    weights exp(-2 |t|^2),

fitted by weighted least squares. The denoised point is p + c_0 n.

Both the presence of noise and the number of neighbors are estimated from the cloud: in noise, a neighborhood is as
thick as it is wide (sqrt(l_0 / l_1) near 1) until it is much wider than the noise. The ratio is also large for thin
plates and rods, but there the distribution along the normal has two modes, one per side, and a small kurtosis.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.utils.chunks import map_chunks

Floats = NDArray[np.float64]

_NEIGHBOR_COUNTS = (12, 24, 48, 96)
_MAX_NEIGHBOR_SHARE = {2: 1 / 50, 3: 1 / 200}  # of the cloud, by dimension; larger neighborhoods bridge its parts
_MAX_THICKNESS = 0.4  # sqrt(l_0 / l_1); 0.05 to 0.15 without noise, 0.7 in pure noise
# Lower quartile of the kurtosis along the normals: 2.2 to 2.6 for normal noise, 1.1 to 2.1 on 19 furniture clouds.
_MIN_KURTOSIS = 2.15
_MAX_TESTED_POINTS = 2000
_CHUNK_SIZE = 4096
_RIDGE = 1e-9  # relative to the trace of the normal equations


def denoise(points: Float[Floats, "N d"]) -> Float[Floats, "N d"]:
    """Project the points of a noisy cloud onto the quadrics fitted to their neighbors.

    Args:
        points: Points (N, 2) or (N, 3), in any units.

    Returns:
        Denoised points (N, d), or `points` itself if the noise is not wider than the spacing of the points.
    """
    tree = cKDTree(points)
    count = select_neighbor_count(points, tree)
    if count == 0:
        return points
    return map_chunks(
        lambda chunk: _project_to_quadrics(chunk, points[_query_neighbors(tree, chunk, count)]), points, _CHUNK_SIZE
    )


def select_neighbor_count(points: Float[Floats, "N d"], tree: cKDTree) -> int:
    """Select how many neighbors a quadric needs to average out the noise of a cloud.

    Args:
        points: Points (N, 2) or (N, 3).
        tree: Search tree over `points`.

    Returns:
        24, 48 or 96; 0 if the cloud has no noise or is too small to distinguish noise from shape.
    """
    tested = points[:: -(-len(points) // _MAX_TESTED_POINTS)]
    max_count = max(_MAX_NEIGHBOR_SHARE[points.shape[1]] * len(points), _NEIGHBOR_COUNTS[0])
    for count in (n for n in _NEIGHBOR_COUNTS if n <= max_count):
        centered = _center(points[_query_neighbors(tree, tested, count)])
        eigenvalues, frame = np.linalg.eigh(_scatter_matrix(centered))
        if np.median(eigenvalues[:, 0] - _MAX_THICKNESS**2 * eigenvalues[:, 1]) <= 0:
            break
    if count == _NEIGHBOR_COUNTS[0]:
        return 0
    squared = (centered @ frame[:, :, :1])[..., 0] ** 2
    kurtosis = (squared**2).mean(1) / np.maximum(squared.mean(1) ** 2, np.finfo(float).tiny)
    return count if np.quantile(kurtosis, 0.25) > _MIN_KURTOSIS else 0


def _project_to_quadrics(points: Floats, neighbors: Floats) -> Floats:
    """Move points (N, d) along the PCA normals of their neighbors (N, k, d) onto the fitted quadrics."""
    frame = np.linalg.eigh(_scatter_matrix(_center(neighbors)))[1]
    local = (neighbors - points[:, None]) @ frame
    height, tangential = local[..., :1], local[..., 1:]
    tangential /= np.sqrt((tangential**2).sum(-1).max(1))[:, None, None]
    first, second = np.triu_indices(tangential.shape[-1])
    products = tangential[..., first] * tangential[..., second]
    basis = np.concatenate((np.ones_like(height), tangential, products), axis=-1)
    weighted = (basis * np.exp(-2 * (tangential**2).sum(-1, keepdims=True))).swapaxes(1, 2)
    matrix = weighted @ basis
    matrix += _RIDGE * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(basis.shape[-1])
    coefficients = np.linalg.solve(matrix, weighted @ height)
    return np.asarray(points + coefficients[:, :1, 0] * frame[:, :, 0])


def _center(neighbors: Floats) -> Floats:
    return np.asarray(neighbors - neighbors.mean(axis=1, keepdims=True))


def _scatter_matrix(centered: Floats) -> Floats:
    return np.asarray(centered.swapaxes(1, 2) @ centered)


def _query_neighbors(tree: cKDTree, points: Floats, count: int) -> NDArray[np.int64]:
    """Return indices (N, count + 1) of the nearest points, the query point itself included."""
    return np.asarray(tree.query(points, k=min(count, tree.n - 1) + 1, workers=-1)[1])
