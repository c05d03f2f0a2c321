"""Exact closest points on a triangle mesh by a bounding volume hierarchy (Ericson 2005, chapters 5 and 6), in float64.

The hierarchy is an implicit complete binary tree of axis-aligned boxes. Node k of level l is row 2^l - 1 + k and covers
the faces from n k / 2^l to n (k + 1) / 2^l of an order in which each node is split at its median centroid, along the
longest axis of its centroids. Queries are answered in the order of a Morton curve; each starts with the distance to the
closest face of the previous query as an upper bound, which prunes most of the tree.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.triangles import closest_point_on_triangle
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FACES_PER_LEAF = 4  # at most


class TriangleBVH:
    """Bounding volume hierarchy over the faces of a mesh, built once for many queries."""

    def __init__(self, corners: Floats) -> None:
        """Build the hierarchy over triangles with corners (F, 3, 3)."""
        self.order, self.boxes = _build(corners)
        self.corners = np.ascontiguousarray(corners[self.order])

    def closest(self, points: Floats) -> tuple[Floats, Ints, Floats]:
        """Find the closest point of the mesh for each query.

        Args:
            points: Queries (N, 3), float64.

        Returns:
            Unsigned distance (N,), closest face (N,) and closest point (N, 3).
        """
        squared, face, closest_point = _query(self.corners, self.boxes, points, _morton_order(points))
        return np.sqrt(squared), self.order[face], closest_point


@compiled(nogil=True, error_model="numpy")
def _build(corners: Floats) -> Any:
    """Order of the faces (F,), and lower and upper corners (M, 2, 3) of the boxes of all nodes, level by level."""
    count, levels = len(corners), 0
    while _FACES_PER_LEAF << levels < count:
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
            _select(order, center, (high - low).argmax(), first, last, count * (2 * k + 1) >> (level + 1))
    boxes = np.empty(((2 << levels) - 1, 2, 3))
    boxes[:, 0], boxes[:, 1] = np.inf, -np.inf
    for k in range(1 << levels):
        for at in range(count * k >> levels, count * (k + 1) >> levels):
            for s in range(3):
                for axis in range(3):
                    _extend_box(boxes[(1 << levels) - 1 + k], axis, corners[order[at], s, axis])
    for node in range(len(boxes) - 1, 0, -1):
        for axis in range(3):
            for end in range(2):
                _extend_box(boxes[(node - 1) // 2], axis, boxes[node, end, axis])
    return order, boxes


@compiled(nogil=True)
def _extend_box(box: Floats, axis: int, value: float) -> None:
    """Extend a box (2, 3) along an axis to contain a coordinate."""
    box[0, axis] = min(box[0, axis], value)
    box[1, axis] = max(box[1, axis], value)


@compiled(nogil=True)
def _select(order: Ints, center: Floats, axis: int, first: int, last: int, middle: int) -> None:
    """Partition order[first:last] around its element at `middle` by center along the axis (Hoare's quickselect)."""
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
    """Order (N,) of points (N, 3) along a Morton (Z-order) curve with 20 bits per axis in their bounding cube."""
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
def _squared_distance_to_box(box: Floats, p: Floats) -> float:
    """Squared distance from p (3,) to a box (2, 3); 0 inside."""
    x = max(box[0, 0] - p[0], 0.0, p[0] - box[1, 0])
    y = max(box[0, 1] - p[1], 0.0, p[1] - box[1, 1])
    z = max(box[0, 2] - p[2], 0.0, p[2] - box[1, 2])
    return x * x + y * y + z * z


@compiled(nogil=True, error_model="numpy")
def _query(corners: Floats, boxes: Floats, points: Floats, order: Ints) -> Any:
    """Squared distance (N,), closest face (N,) in tree order and closest point (N, 3), by depth-first traversal.

    The nearer child is visited first; nodes no closer than the best face so far are skipped.
    """
    faces, leaves = len(corners), (len(boxes) + 1) // 2
    squared, face, closest_point = np.empty(len(points)), np.empty(len(points), np.int64), np.empty((len(points), 3))
    stack, distance = np.empty(64, np.int64), np.empty(64)
    last: Any = np.int64(0)  # a literal has a type of its own, for which the search would be compiled once more
    for n in order:
        p = points[n]
        best, _, x, y, z = closest_point_on_triangle(p[0], p[1], p[2], corners, last)
        stack[0], distance[0], depth = 0, _squared_distance_to_box(boxes[0], p), 1
        while depth:
            depth -= 1
            node = stack[depth]
            if distance[depth] >= best:
                continue
            if node >= leaves - 1:
                k = node - (leaves - 1)
                for f in range(faces * k // leaves, faces * (k + 1) // leaves):
                    d, _, a, b, c = closest_point_on_triangle(p[0], p[1], p[2], corners, f)
                    if d < best:
                        best, last, x, y, z = d, f, a, b, c
                continue
            near, far = 2 * node + 1, 2 * node + 2
            d_near, d_far = _squared_distance_to_box(boxes[near], p), _squared_distance_to_box(boxes[far], p)
            if d_near > d_far:
                near, far, d_near, d_far = far, near, d_far, d_near
            stack[depth], distance[depth] = far, d_far
            stack[depth + 1], distance[depth + 1] = near, d_near
            depth += 2
        squared[n], face[n] = best, last
        closest_point[n, 0], closest_point[n, 1], closest_point[n, 2] = x, y, z
    return squared, face, closest_point
