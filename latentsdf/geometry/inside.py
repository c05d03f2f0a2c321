"""Inside on a lattice: winding numbers asked at a few vertices answer for all that no surface parts from them."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from latentsdf.geometry.sign import SignRule, WindingRule

_LEVELS = ((16, 64), (4, 8))  # cells of a block, vertices asked in each piece of it
_UNSURE = 0.15  # winding numbers this close to 1/2 come from holes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Inside = NDArray[np.bool_]


def lattice_inside(
    rule: SignRule,
    index: NDArray[np.integer[Any]],
    resolution: int,
    distance: NDArray[np.floating[Any]],
    face: NDArray[np.integer[Any]],
) -> Inside:
    """Inside (B,) for lattice vertices of sorted linear index (B,) with unsigned distance and closest face (B,).

    Neighbours that no surface can part (d_a + d_b > the step between them) belong together within a block of the
    lattice, and a few members decide for each such piece. Where they disagree or come near 1/2 there is a hole: the
    piece is cut into smaller blocks that vote again, and in the end every vertex of a piece in doubt is asked. The
    distance may be a lower bound.
    """
    if not isinstance(rule, WindingRule):
        return rule(_lattice_positions(index, resolution), face)
    linear, unsigned = index.astype(np.int64), distance.astype(np.float64)
    inside = np.empty(len(index), dtype=np.bool_)
    left = np.arange(len(index))
    for block, members in _LEVELS:
        piece = _pieces(linear[left], unsigned[left], resolution, block)
        inside[left], doubtful = _vote(rule, linear[left], resolution, piece, members)
        left = left[np.sort(doubtful)]
        if not len(left):
            return inside
    inside[left] = rule(_lattice_positions(linear[left], resolution), face[left])
    return inside


def _vote(rule: WindingRule, index: Ints, resolution: int, label: Ints, members: int) -> tuple[Inside, Ints]:
    """Inside (B,) as up to `members` spread over each label say, and the positions of labels they are not sure of."""
    order = np.argsort(label, kind="stable")
    start = np.flatnonzero(np.diff(label[order], prepend=-1))
    size = np.diff(start, append=len(order))
    taken = np.minimum(size, members)
    owner = np.repeat(np.arange(len(size)), taken)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(taken) - taken, taken)
    member = order[start[owner] + rank * size[owner] // taken[owner]]
    number = rule.number(_lattice_positions(index[member], resolution))
    votes = np.bincount(owner, weights=number > 0.5, minlength=len(size))
    unsure = np.bincount(owner, weights=np.abs(number - 0.5) < _UNSURE, minlength=len(size))
    inside = np.empty(len(index), dtype=np.bool_)
    inside[order] = np.repeat(votes * 2 > taken, size)
    inside[member] = number > 0.5
    doubtful = ((votes % taken != 0) | (unsure > 0)) & (size > taken)
    return inside, order[np.repeat(doubtful, size)]


def _lattice_positions(index: NDArray[np.integer[Any]], resolution: int) -> Floats:
    i, j, k = np.unravel_index(index, (resolution + 1,) * 3)
    return np.stack([i, j, k], axis=1).astype(np.float64) * (2 / resolution) - 1


@njit(cache=True)
def _pieces(index: Any, distance: Any, resolution: int, block: int) -> Any:
    """Root of each vertex under `no surface between neighbours`, cut every `block` cells.

    The index is sorted, so the pointer to the next neighbour only advances.
    """
    parent = np.arange(len(index))
    size = resolution + 1
    step = 2.0 / resolution
    for axis in range(3):
        stride = size ** (2 - axis)
        other = 0
        for a in range(len(index)):
            along = index[a] // stride % size
            if along == resolution or (along + 1) % block == 0:
                continue
            while other < len(index) and index[other] < index[a] + stride:
                other += 1
            if other == len(index):
                break
            if index[other] == index[a] + stride and distance[a] + distance[other] > step * (1 + 1e-5):
                x, y = a, other
                while parent[x] != x:
                    parent[x] = parent[parent[x]]
                    x = parent[x]
                while parent[y] != y:
                    parent[y] = parent[parent[y]]
                    y = parent[y]
                parent[max(x, y)] = min(x, y)
    for a in range(len(index)):
        parent[a] = parent[parent[a]]
    return parent
