"""Path between two codes through training codes that are near each other.

Straight paths between different kinds of shapes pass through codes far from all training codes, whose shapes are often
broken. Paths between near neighbors are intact more often. The path is therefore the shortest one, by Dijkstra's
algorithm, in a graph whose nodes are the T training codes and the two ends. Each node is joined to its k nearest
neighbors, with k doubled until the ends are connected. An edge between a and b has the length

    |a - b|^2                                          (of the global parts of the codes)

so that many short edges are preferred to a long one. The polyline is divided into steps of equal Euclidean length.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from latentsdf.latent.flat_index import FlatIndex

_NEIGHBORS = 8


def neighbor_path(
    first: Float[NDArray[np.float32], " L"],
    last: Float[NDArray[np.float32], " L"],
    training: Float[NDArray[np.float32], "T L"],
    steps: int,
    dim: int,
) -> Float[NDArray[np.float32], "N L"]:
    """Compute a path through training codes.

    Args:
        first: Code of the start.
        last: Code of the end.
        training: Training codes.
        steps: Number of codes N >= 2 of the path.
        dim: Length of the global part of a code, by which the distances are measured.

    Returns:
        Codes (N, L), including both ends.
    """
    nodes = np.concatenate((first[None], last[None], training))
    corners = nodes[_shortest_path(nodes[:, :dim])]
    lengths = np.linalg.norm(np.diff(corners[:, :dim].astype(np.float64), axis=0), axis=1)
    kept = np.concatenate(([True], lengths > 0))  # an end that is a training code occurs twice
    position = np.concatenate(([0.0], np.cumsum(lengths)))[kept]
    if len(position) == 1:
        return np.repeat(first[None], steps, axis=0)
    at = np.linspace(0, position[-1], steps)
    path = np.stack([np.interp(at, position, column) for column in corners[kept].T], axis=1).astype(np.float32)
    path[0], path[-1] = first, last
    return path


def _shortest_path(nodes: Float[NDArray[np.float32], "M G"]) -> Int[NDArray[np.int64], " C"]:
    """Rows of the nodes of the shortest path from the first to the second node."""
    index = FlatIndex(nodes.shape[1], inner_product=False)
    index.add_with_ids(nodes, np.arange(len(nodes)))
    k = _NEIGHBORS
    while True:
        k = min(k, len(nodes))
        squared, neighbors = index.search(nodes, k)
        rows = np.repeat(np.arange(len(nodes)), k)
        # An edge of length 0 would be none: training codes may be equal to the ends.
        graph = coo_array((squared.ravel() + 1e-12, (rows, neighbors.ravel())), shape=(len(nodes),) * 2).tocsr()
        distance, previous = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
        if np.isfinite(distance[1]):
            break
        k *= 2
    path = [1]
    while path[-1] != 0:
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1])
