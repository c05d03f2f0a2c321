"""Closest points on a triangle mesh for points anywhere, by a bounding-volume tree (Ericson 2005, chapters 5 and 6).

The tree is implicit: the faces are ordered so that node k of level l, row 2^l - 1 + k, holds those from n k / 2^l to
n (k + 1) / 2^l, its two halves parted along its longest axis. Queries run along a space-filling curve, each starting
from the distance to the face that its predecessor found, so that most of the tree is cut off at once. Exact, float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.triangles import point_triangle
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAF = 4  # faces, about


class TriangleTree:
    """A tree over the corners (F, 3, 3) of a mesh's faces, built once for many queries."""

    def __init__(self, corners: Floats) -> None:
        self.order, self.boxes = _build(corners)
        self.corners = np.ascontiguousarray(corners[self.order])

    def closest(self, points: Floats) -> tuple[Floats, Ints, Floats]:
        """Distance (N,), closest face (N,) and closest point (N, 3) of points (N, 3)."""
        squared, slot, found = _query(self.corners, self.boxes, points, _morton_order(points))
        return np.sqrt(squared), self.order[slot], found


@compiled(nogil=True, error_model="numpy")
def _build(corners: Floats) -> Any:
    """Order of the faces (F,), and the boxes (M, 2, 3) of all nodes, level after level."""
    count, levels = len(corners), 0
    while _LEAF << levels < count:
        levels += 1
    center, order = np.empty((count, 3)), np.arange(count)
    for f in range(count):
        for axis in range(3):
            center[f, axis] = corners[f, 0, axis] + corners[f, 1, axis] + corners[f, 2, axis]
    for level in range(levels):
        for k in range(1 << level):
            first, last = count * k >> level, count * (k + 1) >> level
            low, high = np.full(3, np.inf), np.full(3, -np.inf)
            for at in range(first, last):
                for axis in range(3):
                    low[axis] = min(low[axis], center[order[at], axis])
                    high[axis] = max(high[axis], center[order[at], axis])
            _part(order, center, (high - low).argmax(), first, last, count * (2 * k + 1) >> (level + 1))
    boxes = np.empty(((2 << levels) - 1, 2, 3))
    boxes[:, 0], boxes[:, 1] = np.inf, -np.inf
    for k in range(1 << levels):
        for at in range(count * k >> levels, count * (k + 1) >> levels):
            for s in range(3):
                for axis in range(3):
                    _widen(boxes[(1 << levels) - 1 + k], axis, corners[order[at], s, axis])
    for node in range(len(boxes) - 1, 0, -1):
        for axis in range(3):
            for end in range(2):
                _widen(boxes[(node - 1) // 2], axis, boxes[node, end, axis])
    return order, boxes


@compiled(nogil=True)
def _widen(box: Floats, axis: int, value: float) -> None:
    box[0, axis] = min(box[0, axis], value)
    box[1, axis] = max(box[1, axis], value)


@compiled(nogil=True)
def _part(order: Ints, center: Floats, axis: int, first: int, last: int, middle: int) -> None:
    """Reorder order[first:last] so that none before `middle` lies further along the axis than one behind it (Hoare)."""
    last -= 1
    while first < last:
        pivot = center[order[(first + last) // 2], axis]
        i, j = first, last
        while i <= j:
            while center[order[i], axis] < pivot:
                i += 1
            while center[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            return


def _morton_order(points: Floats) -> Ints:
    """Order of points (N, 3) along a Z curve through the cube around them."""
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    low = points.min(0)
    extent = max(float((points.max(0) - low).max()), np.finfo(np.float64).tiny)
    cell = np.minimum((points - low) / extent * 2**20, 2**20 - 1).astype(np.int64)
    key = np.zeros(len(points), dtype=np.int64)
    for bit in range(20):
        for axis in range(3):
            key |= (cell[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")


@compiled(nogil=True, error_model="numpy")
def _apart(box: Floats, p: Floats) -> float:
    """Squared distance from p to a box (2, 3)."""
    x = max(box[0, 0] - p[0], 0.0, p[0] - box[1, 0])
    y = max(box[0, 1] - p[1], 0.0, p[1] - box[1, 1])
    z = max(box[0, 2] - p[2], 0.0, p[2] - box[1, 2])
    return x * x + y * y + z * z


@compiled(nogil=True, error_model="numpy")
def _query(corners: Floats, boxes: Floats, points: Floats, order: Ints) -> Any:
    faces, leaves = len(corners), (len(boxes) + 1) // 2
    squared, slot, found = np.empty(len(points)), np.empty(len(points), np.int64), np.empty((len(points), 3))
    stack, distance = np.empty(64, np.int64), np.empty(64)
    last = 0
    for n in order:
        p = points[n]
        best, _, x, y, z = point_triangle(p[0], p[1], p[2], corners, last)
        stack[0], distance[0], depth = 0, _apart(boxes[0], p), 1
        while depth:
            depth -= 1
            node = stack[depth]
            if distance[depth] >= best:
                continue
            if node >= leaves - 1:
                k = node - (leaves - 1)
                for f in range(faces * k // leaves, faces * (k + 1) // leaves):
                    d, _, a, b, c = point_triangle(p[0], p[1], p[2], corners, f)
                    if d < best:
                        best, last, x, y, z = d, f, a, b, c
                continue
            near, far = 2 * node + 1, 2 * node + 2
            d_near, d_far = _apart(boxes[near], p), _apart(boxes[far], p)
            if d_near > d_far:
                near, far, d_near, d_far = far, near, d_far, d_near
            stack[depth], distance[depth] = far, d_far
            stack[depth + 1], distance[depth + 1] = near, d_near
            depth += 2
        squared[n], slot[n] = best, last
        found[n, 0], found[n, 1], found[n, 2] = x, y, z
    return squared, slot, found
