"""Sign of the signed distance at lattice vertices.

Two adjacent vertices a and b with unsigned distances d_a and d_b have the same sign if d_a + d_b > |a - b|, because the
surface cannot pass between them. The connected components of this relation, within blocks of the lattice, share a sign:
the sign rule is evaluated at up to 64 vertices of each component and the majority decides. At holes in the mesh the
winding number varies smoothly, and a component may contain both signs; pseudonormals can be wrong where parts of the
surface intersect. Components whose votes disagree or come
close to 1/2 are therefore divided into smaller blocks that vote again, and every vertex of a component that remains
uncertain is evaluated separately.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.lattice import lattice_positions
from latentsdf.geometry.mesh_sdf.sign import SignRule
from latentsdf.geometry.mesh_sdf.winding_number import WindingNumberRule
from latentsdf.utils.numba_cache import compiled

_BLOCK, _SMALL_BLOCK = 16, 4  # cells per axis, in the first and in the second vote
_VOTERS, _FEWER_VOTERS = 64, 8  # vertices per component, in the first and in the second vote
_MARGIN = 0.15  # winding numbers closer to 1/2 occur near holes
_GOLDEN_RATIO = 0.6180339887498949  # its multiples modulo 1 are spread evenly

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def lattice_inside(
    rule: SignRule,
    index: NDArray[np.integer[Any]],
    resolution: int,
    distance: NDArray[np.floating[Any]],
    face: NDArray[np.integer[Any]],
) -> Bools:
    """Evaluate the sign rule at lattice vertices.

    Args:
        rule: Sign rule of the mesh.
        index: Sorted linear indices (B,) of the vertices.
        resolution: Cells per axis.
        distance: Unsigned distances (B,) in model space, or lower bounds of them.
        face: Closest faces (B,).

    Returns:
        True for vertices inside, shape (B,).
    """
    linear, unsigned = index.astype(np.uint32, copy=False), distance.astype(np.float32, copy=False)
    component = _components(linear, unsigned, resolution, _BLOCK)
    inside, doubtful = _vote(rule, linear, face, resolution, component, _VOTERS)
    if len(doubtful):
        linear, unsigned, face = linear[doubtful], unsigned[doubtful], face[doubtful]
        component = _components(linear, unsigned, resolution, _SMALL_BLOCK)
        inside[doubtful], unresolved = _vote(rule, linear, face, resolution, component, _FEWER_VOTERS)
        positions = lattice_positions(linear[unresolved], resolution)
        inside[doubtful[unresolved]] = rule(positions, face[unresolved])
    return inside


def _vote(
    rule: SignRule,
    index: NDArray[np.uint32],
    face: NDArray[np.integer[Any]],
    resolution: int,
    component: Ints,
    max_voters: int,
) -> tuple[Bools, Ints]:
    """Majority vote on inside (B,) in each component (B,), and the vertices of components with an uncertain vote."""
    size = np.bincount(component)
    voters = np.minimum(size, max_voters)
    owner = np.repeat(np.arange(len(size)), voters)
    voter = _select_voters(component, size, voters)
    positions = lattice_positions(index[voter], resolution)
    if isinstance(rule, WindingNumberRule):
        number = rule.winding_number(positions)
        vote, uncertain = number > 0.5, np.abs(number - 0.5) < _MARGIN
    else:
        vote = rule(positions, face[voter])
        uncertain = np.zeros(len(vote), dtype=np.bool_)
    votes = np.bincount(owner, weights=vote, minlength=len(size))
    close = np.bincount(owner, weights=uncertain, minlength=len(size))
    inside = (votes * 2 > voters)[component]
    inside[voter] = vote
    doubtful = ((votes % voters != 0) | (close > 0)) & (size > voters)
    return inside, np.flatnonzero(doubtful[component])


@compiled()
def _components(index: Any, distance: Any, resolution: int, block: int) -> Any:
    """Label (B,) of the component of each vertex, from 0, by union-find; components do not cross blocks.

    The linear indices are sorted, so the neighbors along an axis are found by advancing a second position.
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
    for a in range(len(index)):  # a root precedes the other vertices of its component
        if parent[a] == a:
            parent[a] = count
            count += 1
        else:
            parent[a] = parent[parent[a]]
    return parent


@compiled()
def _select_voters(component: Ints, size: Ints, voters: Ints) -> Ints:
    """Vertices of each component, `voters[c]` of the `size[c]` in component c, by component.

    One vertex is drawn from each of `voters[c]` equal ranges, at a different place in each: equal intervals would
    select a single layer of a block, because their length is a multiple of its rows.
    """
    first = np.cumsum(voters) - voters
    seen, found = np.zeros_like(size), np.zeros_like(size)
    selected = np.empty(voters.sum(), np.int64)
    for a in range(len(component)):
        c = component[a]
        if found[c] < voters[c]:
            start, end = found[c] * size[c] // voters[c], (found[c] + 1) * size[c] // voters[c]
            if seen[c] == start + int(found[c] * _GOLDEN_RATIO % 1.0 * (end - start)):
                selected[first[c] + found[c]] = a
                found[c] += 1
        seen[c] += 1
    return selected
