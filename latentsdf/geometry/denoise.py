"""Noise in a point cloud: points moved onto the smooth surface that their neighbours scatter about.

The surface near a point is a quadric over the tangent plane of its neighbours, fitted with weights that fall off with
distance (an osculating jet: Cazals and Pouget 2005). How many neighbours it takes is read off the cloud: noise makes
neighbourhoods as thick as they are wide, until they are much wider than it.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

_NEIGHBOURS = (12, 24, 48, 96)
_MOST = 1 / 200  # of a cloud; wider neighbourhoods bridge its parts
_FLAT = 0.4  # thickness of a neighbourhood over its lesser width; 0.05 to 0.15 without noise, 0.7 in noise alone
_JUDGED = 2000
_PIECE = 4096


def denoised(points: Float[Floats, "N d"]) -> Float[Floats, "N d"]:
    """Points of a noisy cloud on the quadrics of their neighbours, other clouds as they are."""
    tree = cKDTree(points)
    count = neighbours_to_see_a_plane(points, tree)
    if count == _NEIGHBOURS[0]:
        return points
    pieces = [points[start : start + _PIECE] for start in range(0, len(points), _PIECE)]
    return np.concatenate([_on_quadrics(piece, points[_nearest(tree, piece, count)]) for piece in pieces])


def neighbours_to_see_a_plane(points: Float[Floats, "N d"], tree: cKDTree) -> int:
    """How many neighbours, of points in the `tree`, most often lie about a plane: 12 without noise, at most 96."""
    judged = points[:: -(-len(points) // _JUDGED)]
    for count in (n for n in _NEIGHBOURS if n <= max(_MOST * len(points), _NEIGHBOURS[0])):
        variance = np.linalg.eigvalsh(_moments(points[_nearest(tree, judged, count)]))
        if np.median(variance[:, 0] / variance[:, 1]) < _FLAT**2:
            break
    return count


def _on_quadrics(points: Floats, around: Floats) -> Floats:
    """Each of points (N, d) moved along the normal of its neighbours (N, k, d), to the height of the quadric."""
    frame = np.linalg.eigh(_moments(around))[1]
    local = (around - points[:, None]) @ frame
    height, across = local[..., :1], local[..., 1:]
    across /= np.sqrt((across**2).sum(-1).max(1))[:, None, None]
    first, second = np.triu_indices(across.shape[-1])
    terms = np.concatenate((np.ones_like(height), across, across[..., first] * across[..., second]), axis=-1)
    weighted = (terms * np.exp(-2 * (across**2).sum(-1, keepdims=True))).swapaxes(1, 2)
    matrix = weighted @ terms
    matrix += 1e-9 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(terms.shape[-1])
    fitted = np.linalg.solve(matrix, weighted @ height)
    return np.asarray(points + fitted[:, :1, 0] * frame[:, :, 0])


def _moments(around: Floats) -> Floats:
    centred = around - around.mean(axis=1, keepdims=True)
    return np.asarray(centred.swapaxes(1, 2) @ centred)


def _nearest(tree: cKDTree, points: Floats, count: int) -> NDArray[np.int64]:
    return np.asarray(tree.query(points, k=min(count, tree.n - 1) + 1, workers=-1)[1])
