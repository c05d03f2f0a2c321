"""Separate pieces of surfaces: loose parts, debris and missing parts of a reconstruction.

A mesh of a shape is often a union of overlapping or touching parts, so its connected components are not its pieces. Two
components belong to the same piece if they come closer to each other than `PIECE_GAP`, directly or through other
components. Components are represented by surface samples; a component that is too small to receive a sample is ignored.

Each reference piece is matched with the reconstructed piece that is nearest to most of its samples. Reconstructed
pieces that match no reference piece are debris: floating components, and parts that are disconnected, because the
reference has no such separate piece.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

PIECE_GAP = 0.01
"""Distance up to which components belong to the same piece, in the units of the mesh; about 2.6 cells of a 512^3
lattice in model space."""


def face_components(faces: Int[NDArray[np.integer], "F 3"], vertex_count: int) -> Int[NDArray[np.int32], " F"]:
    """Component of each face (F,); faces that share a vertex are in the same component."""
    start, end = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(start), dtype=bool), (start, end)), shape=(vertex_count, vertex_count))
    components: NDArray[np.int32] = connected_components(graph, directed=False)[1][faces[:, 0]]
    return components


def label_pieces(
    points: Float[NDArray[np.float64], "N 3"], component: Int[NDArray[np.int32], " N"], gap: float = PIECE_GAP
) -> Int[NDArray[np.int64], " N"]:
    """Assign surface samples to pieces.

    Args:
        points: Surface samples (N, 3).
        component: Connected component (N,) of each sample.
        gap: Distance up to which components belong to the same piece.

    Returns:
        Piece (N,) of each sample: 0, 1, ...
    """
    names, part = np.unique(component, return_inverse=True)
    count = len(names)
    if count == 1:
        return np.zeros(len(points), dtype=np.int64)
    trees = [cKDTree(points[part == i]) for i in range(count)]
    low, high = (np.stack([bound(tree.data, axis=0) for tree in trees]) for bound in (np.min, np.max))
    touching = []
    for i in range(count):
        near = (low <= high[i] + gap).all(axis=1) & (high >= low[i] - gap).all(axis=1)
        for j in np.flatnonzero(near[:i]):
            small, large = sorted((trees[i], trees[j]), key=lambda tree: tree.n)
            if np.isfinite(large.query(small.data, distance_upper_bound=gap)[0]).any():
                touching.append((i, j))
    pairs = np.array(touching, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    pieces: NDArray[np.int64] = connected_components(graph, directed=False)[1][part].astype(np.int64)
    return pieces


def debris_share(
    pieces: Int[NDArray[np.int64], " N"],
    nearest_sample: Int[NDArray[np.integer], " M"],
    reference_pieces: Int[NDArray[np.int64], " M"],
) -> float:
    """Share of the reconstruction's area in pieces that the reference does not have; see the module docstring.

    Args:
        pieces: Piece (N,) of each reconstruction sample.
        nearest_sample: Nearest reconstruction sample (M,) of each reference sample.
        reference_pieces: Piece (M,) of each reference sample.
    """
    votes = np.zeros((reference_pieces.max() + 1, pieces.max() + 1), dtype=np.int64)
    np.add.at(votes, (reference_pieces, pieces[nearest_sample]), 1)
    return float(1 - np.isin(pieces, votes.argmax(axis=1)).mean())
