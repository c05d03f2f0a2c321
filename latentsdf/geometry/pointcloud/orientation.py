"""Normal orientation of raw point clouds, and an initial signed distance.

Unoriented normals come from PCA. Their signs are found as follows:

1. 2D: by the even-odd rule (`planar_parity`). 3D: by propagation along a minimum spanning tree of the neighbor graph
   with edge weights 1 - |n_i . n_j| (Hoppe et al. 1992). Each connected component is then oriented outward by the
   sign of its volume, and inverted if an odd number of other components enclose it (by their winding numbers).
2. By iteration: solve for the Poisson indicator of the solid and flip normals along which it decreases (compare Hou et
   al. 2022, iterative Poisson surface reconstruction).

Points are in model space, so that the cloud lies inside the box [-1, 1]^d. Signed distances are negative inside.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from latentsdf.geometry.pointcloud.normals import estimate_normals
from latentsdf.geometry.pointcloud.planar_parity import orient_planar_normals
from latentsdf.geometry.pointcloud.poisson_indicator import PoissonIndicator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXTENT = 1.25
"""Half the side of the box around model space in which the indicator is solved."""
_NEIGHBORS = 12
_INDICATOR_RESOLUTION = {2: 512, 3: 128}  # by dimension
_MAX_FLIP_ITERATIONS = 8
# Dilation radius relative to the distance of the 12th neighbor, about 6 spacings along a curve; closes gaps of up to
# 8 spacings.
_DILATION = 0.7
_MAX_PROBES = 64
_PLANE_RANGE = 3.0  # spacings within which the distance to tangent planes is used
_MIN_EDGE_WEIGHT = 1e-6  # scipy treats a weight of 0 as no edge


class OrientedPointCloud:
    """Point cloud with outward normals and an approximate signed distance.

    Attributes:
        points: Points (N, d) in model space.
        normals: Outward unit normals (N, d).
        area: Surface area (arc length in 2D) that each point represents, shape (N,).
        spacing: Median distance of a point to its nearest neighbor.
        dim: Dimension d, 2 or 3.
        tree: Search tree over the points.
        indicator: Poisson indicator of the solid.
    """

    def __init__(self, points: Floats, normals: Floats | None = None) -> None:
        """Orient a point cloud.

        Args:
            points: At least 13 points (N, 2) or (N, 3) in model space.
            normals: Outward unit normals (N, d), which are kept; None to estimate them.
        """
        self.points = points
        self.dim = points.shape[1]
        self.tree = cKDTree(points)
        distance, neighbors = self.tree.query(points, k=_NEIGHBORS + 1, workers=-1)
        radius = distance[:, -1]
        self.area = _sample_area(radius, self.dim)
        self.spacing = float(np.median(distance[:, 1]))
        if normals is None:
            normals = estimate_normals(points, neighbors)
            decided = np.ones(len(points), dtype=np.bool_)
            if self.dim == 2:
                normals, decided = orient_planar_normals(points, normals, _DILATION * radius, EXTENT)
            else:
                normals = _orient_by_spanning_tree(points, normals, neighbors, self.area)
            self.normals, self.indicator = _flip_by_indicator(points, normals, self.area, decided)
        else:
            self.normals = normals
            resolution = _INDICATOR_RESOLUTION[self.dim]
            self.indicator = PoissonIndicator(points, normals * self.area[:, None], resolution, EXTENT)

    def signed_distance(self, queries: Floats) -> Floats:
        """Compute an approximate signed distance.

        Near the cloud it is the weighted mean of the distances to the tangent planes of the 12 nearest points p_i,
        sum_i w_i n_i . (q - p_i) / sum_i w_i with w_i = exp(-|q - p_i|^2 / r^2) and r the larger of the distance to the
        nearest point and the spacing (implicit moving least squares, Kolluri 2005). Farther than 3 spacings it is
        the distance to the nearest point with the sign of the indicator.

        Args:
            queries: Query points (M, d) in model space; points beyond `EXTENT` are outside.

        Returns:
            Signed distances (M,).
        """
        distance, nearest = self.tree.query(queries, k=_NEIGHBORS, workers=-1)
        scale = np.maximum(distance[:, :1], self.spacing)
        weight = np.exp(-((distance / scale) ** 2))
        offset = queries[:, None] - self.points[nearest]
        plane_distance = (weight * (offset * self.normals[nearest]).sum(-1)).sum(1) / weight.sum(1)
        outside = (np.abs(queries) > EXTENT).any(axis=1) | (self.indicator(queries) >= 0)
        sign = np.where(outside, 1.0, -1.0)
        return np.where(distance[:, 0] < _PLANE_RANGE * self.spacing, plane_distance, sign * distance[:, 0])


def _sample_area(radius: Floats, dim: int) -> Floats:
    """Return the area (N,) per point: that of the disk (2D: segment) around its neighbors, divided by their number."""
    return 2 * radius / _NEIGHBORS if dim == 2 else math.pi * radius**2 / _NEIGHBORS


def _orient_by_spanning_tree(points: Floats, normals: Floats, neighbors: Ints, area: Floats) -> Floats:
    """Orient normals consistently within each connected component, outer components outward, nested ones by parity."""
    count, k = neighbors[:, 1:].shape
    start, end = np.repeat(np.arange(count), k), neighbors[:, 1:].ravel()
    weight = 1 - np.abs((normals[start] * normals[end]).sum(1)) + _MIN_EDGE_WEIGHT
    graph = coo_matrix((weight, (start, end)), shape=(count, count)).tocsr()
    graph = graph.maximum(graph.T)
    component_count, component = connected_components(graph, directed=False)
    tree = minimum_spanning_tree(graph)
    normals = normals.copy()
    for number in range(component_count):
        order, parent = breadth_first_order(tree, int(np.argmax(component == number)), directed=False)
        for point in order[1:].tolist():
            if normals[point] @ normals[parent[point]] < 0:
                normals[point] *= -1
        # By the divergence theorem, d times the enclosed volume.
        volume = (area[order] * ((points[order] - points[order].mean(0)) * normals[order]).sum(1)).sum()
        normals[order] *= 1 if volume > 0 else -1
    oriented = normals.copy()
    for number in range(component_count if component_count > 1 else 0):
        own = np.flatnonzero(component == number)
        probes = points[own[:: max(1, len(own) // _MAX_PROBES)]]
        enclosing = sum(
            round(float(np.median(_winding_number(probes, points[other], normals[other], area[other]))))
            for other in (np.flatnonzero(component == n) for n in range(component_count) if n != number)
        )
        oriented[own] *= -1 if enclosing % 2 else 1
    return oriented


def _winding_number(probes: Floats, points: Floats, normals: Floats, area: Floats) -> Floats:
    """Return the generalized winding number (M,) of an oriented point cloud (Barill et al. 2018) at probes (M, d)."""
    dim = points.shape[1]
    total = np.zeros(len(probes))
    for n, probe in enumerate(probes):
        offset = points - probe
        squared = (offset**2).sum(1).clip(1e-12)
        total[n] = (area * (offset * normals).sum(1) / squared ** (dim / 2)).sum()
    return total / (2 * math.pi if dim == 2 else 4 * math.pi)


def _flip_by_indicator(
    points: Floats, normals: Floats, area: Floats, decided: NDArray[np.bool_]
) -> tuple[Floats, PoissonIndicator]:
    """Flip normals along which the indicator decreases and solve again, until none is left.

    Undecided normals have weight 0 in the first iteration. The lattice is fine from the start, because on a coarser one
    thin parts would be turned inside out.
    """
    resolution = _INDICATOR_RESOLUTION[points.shape[1]]
    step = 2 * EXTENT / resolution
    for _ in range(_MAX_FLIP_ITERATIONS):
        indicator = PoissonIndicator(points, normals * (area * decided)[:, None], resolution, EXTENT)
        flipped = indicator(points + step * normals) < indicator(points - step * normals)
        if not flipped.any() and decided.all():
            break
        decided = np.ones_like(decided)
        normals = np.where(flipped[:, None], -normals, normals)
    return normals, indicator
