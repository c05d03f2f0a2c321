"""Inside on a lattice: winding numbers asked at a few vertices answer for all that no surface parts from them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.lattice import lattice_positions
from latentsdf.geometry.mesh_sdf.sign import SignRule, WindingRule
from latentsdf.utils.numba_cache import compiled

_BLOCK, _SMALL_BLOCK = 16, 4  # cells a side, in the first vote and in the second
_MEMBERS, _FEWER_MEMBERS = 64, 8  # vertices asked in each piece there
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
        return rule(lattice_positions(index, resolution), face)
    linear, unsigned = index.astype(np.uint32, copy=False), distance.astype(np.float32, copy=False)
    inside, doubtful = _vote(rule, linear, resolution, _pieces(linear, unsigned, resolution, _BLOCK), _MEMBERS)
    if len(doubtful):
        linear, unsigned = linear[doubtful], unsigned[doubtful]
        piece = _pieces(linear, unsigned, resolution, _SMALL_BLOCK)
        inside[doubtful], asked = _vote(rule, linear, resolution, piece, _FEWER_MEMBERS)
        inside[doubtful[asked]] = rule(lattice_positions(linear[asked], resolution), face[doubtful[asked]])
    return inside


def _vote(
    rule: WindingRule, index: NDArray[np.uint32], resolution: int, piece: Ints, members: int
) -> tuple[Inside, Ints]:
    """Inside (B,) as up to `members` spread over each piece say, and the positions in pieces they are not sure of."""
    size = np.bincount(piece)
    taken = np.minimum(size, members)
    owner = np.repeat(np.arange(len(size)), taken)
    member = _members(piece, size, taken)
    number = rule.number(lattice_positions(index[member], resolution))
    votes = np.bincount(owner, weights=number > 0.5, minlength=len(size))
    unsure = np.bincount(owner, weights=np.abs(number - 0.5) < _UNSURE, minlength=len(size))
    inside = (votes * 2 > taken)[piece]
    inside[member] = number > 0.5
    doubtful = ((votes % taken != 0) | (unsure > 0)) & (size > taken)
    return inside, np.flatnonzero(doubtful[piece])


@compiled()
def _pieces(index: Any, distance: Any, resolution: int, block: int) -> Any:
    """The piece of each vertex (B,), counted from 0: connected by `no surface between`, cut every `block` cells.

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
    count = 0
    for a in range(len(index)):  # a root comes before its members
        if parent[a] == a:
            parent[a] = count
            count += 1
        else:
            parent[a] = parent[parent[a]]
    return parent


@compiled()
def _members(piece: Ints, size: Ints, taken: Ints) -> Ints:
    """Positions of `taken` members spread over each piece, one piece after the other."""
    first = np.cumsum(taken) - taken
    seen, found = np.zeros_like(size), np.zeros_like(size)
    member = np.empty(taken.sum(), np.int64)
    for a in range(len(piece)):
        p = piece[a]
        if found[p] < taken[p] and seen[p] == found[p] * size[p] // taken[p]:
            member[first[p] + found[p]] = a
            found[p] += 1
        seen[p] += 1
    return member
