"""A tree of triangles whose nodes bound distances by discs; for compiled callers.

Each node bounds its triangles by a disc with a thickness, because a patch of a surface is flat: seen from afar, a box
or a ball around it leaves many patches in question where a disc leaves few. Triangles in Morton order are the leaves of
a complete binary tree; node k has the children 2k and 2k + 1, leaf f is node L + f with L = half the node count.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from latentsdf.geometry.triangles import point_triangle

_NOWHERE = 1e30  # where unused nodes lie
_SLIVER = 1e-5  # area over squared length: a flatter triangle has no trustworthy normal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def morton_order(points: Floats) -> Ints:
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


@njit(cache=True, nogil=True, error_model="numpy")
def build(corners: Floats) -> Floats:
    """Nodes (2 L, 8): centre, unit normal or zero, radius and half thickness of the disc; node 0 is unused."""
    leaves = 1
    while leaves < len(corners):
        leaves *= 2
    nodes = np.zeros((2 * leaves, 8))
    nodes[:, :3] = _NOWHERE
    normals = np.empty((len(corners), 3))
    for f in range(len(corners)):
        normals[f] = np.cross(corners[f, 1] - corners[f, 0], corners[f, 2] - corners[f, 0])
    width, level = leaves, 1
    while width > 0:
        for k in range(level, 2 * level):
            first = (k - level) * width
            if first < len(corners):
                _disc(nodes[k], corners[first : first + width], normals[first : first + width])
        width, level = width // 2, level * 2
    return nodes


@njit(cache=True, nogil=True, error_model="numpy")
def _disc(node: Floats, corners: Floats, normals: Floats) -> None:
    """Write the disc around triangles (F, 3, 3) with normals (F, 3) of any length."""
    low, high, normal = np.full(3, np.inf), np.full(3, -np.inf), np.zeros(3)
    for f in range(len(corners)):
        for axis in range(3):
            normal[axis] += normals[f, axis]
            for s in range(3):
                low[axis] = min(low[axis], corners[f, s, axis])
                high[axis] = max(high[axis], corners[f, s, axis])
    length = np.sqrt((normal * normal).sum())
    if length > 0:
        normal /= length
    node[:3], node[3:6] = (low + high) / 2, normal
    radius = thickness = 0.0
    for f in range(len(corners)):
        for s in range(3):
            dx, dy, dz = corners[f, s, 0] - node[0], corners[f, s, 1] - node[1], corners[f, s, 2] - node[2]
            h = dx * normal[0] + dy * normal[1] + dz * normal[2]
            radius = max(radius, dx * dx + dy * dy + dz * dz - h * h)
            thickness = max(thickness, abs(h))
    node[6], node[7] = np.sqrt(radius), thickness


@njit(cache=True, nogil=True, error_model="numpy")
def prisms(corners: Floats) -> Floats:
    """Planes (F, 4, 4) as normal and offset: each triangle's, and the outward three around its prism.

    For a sliver nothing is inside the prism: offset 1, normals 0.
    """
    planes = np.zeros((len(corners), 4, 4))
    for f in range(len(corners)):
        normal = np.cross(corners[f, 1] - corners[f, 0], corners[f, 2] - corners[f, 0])
        area = np.sqrt((normal * normal).sum())
        longest = 0.0
        for s in range(3):
            edge = corners[f, (s + 1) % 3] - corners[f, s]
            longest = max(longest, (edge * edge).sum())
        if area <= _SLIVER * longest:
            planes[f, 1, 3] = 1.0
            continue
        normal /= area
        planes[f, 0, :3], planes[f, 0, 3] = normal, -(normal * corners[f, 0]).sum()
        for s in range(3):
            out = np.cross(corners[f, (s + 1) % 3] - corners[f, s], normal)
            out /= np.sqrt((out * out).sum())
            planes[f, s + 1, :3], planes[f, s + 1, 3] = out, -(out * corners[f, s]).sum()
    return planes


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def bound(x: float, y: float, z: float, k: int, nodes: Floats) -> float:
    """Lower bound of the squared distance from a point to the triangles of node k."""
    dx, dy, dz = x - nodes[k, 0], y - nodes[k, 1], z - nodes[k, 2]
    h = dx * nodes[k, 3] + dy * nodes[k, 4] + dz * nodes[k, 5]
    above = max(0.0, abs(h) - nodes[k, 7])
    beside = max(0.0, np.sqrt(max(0.0, dx * dx + dy * dy + dz * dz - h * h)) - nodes[k, 6])
    return above * above + beside * beside


@njit(cache=True, nogil=True, error_model="numpy")
def descend(
    x: float,
    y: float,
    z: float,
    root: int,
    nodes: Floats,
    corners: Floats,
    best: float,
    leaf: int,
    waiting: Ints,
    waiting_bound: Floats,
) -> tuple[float, int]:
    """The better of the squared distance `best` at triangle `leaf` and the triangles below node `root`.

    `waiting` and its bounds are room for the nodes still to visit, as long as the tree is deep.
    """
    leaves = len(nodes) // 2
    depth, k = 0, root
    while True:
        if k >= leaves:
            d = point_triangle(x, y, z, corners, k - leaves)[0]
            if d < best:
                best, leaf = d, k - leaves
        else:
            near, far = 2 * k, 2 * k + 1
            a, b = bound(x, y, z, near, nodes), bound(x, y, z, far, nodes)
            if a > b:
                near, far, a, b = far, near, b, a
            if b < best:
                waiting[depth], waiting_bound[depth] = far, b
                depth += 1
            if a < best:
                k = near
                continue
        while depth > 0 and waiting_bound[depth - 1] >= best:
            depth -= 1
        if depth == 0:
            return best, leaf
        depth -= 1
        k = waiting[depth]
