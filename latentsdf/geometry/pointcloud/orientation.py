"""From raw points to oriented ones, and to a first signed distance: where learning on an unoriented cloud starts.

Normals are the directions in which neighbours vary least. In the plane their sides are counted (`parity`); in space
their signs are carried along a spanning tree that prefers neighbours whose normals agree (Hoppe et al. 1992), piece by
piece, and each piece is turned outward by its volume, and again for every other piece around it. What is still wrong is
mended by solving for the indicator of the solid and turning normals that point down it (compare Hou et al. 2022).
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
_NEIGHBOURS = 12
_FINEST = {2: 512, 3: 128}
_ROUNDS = 8
_THICKEN = 0.7  # of the radius that holds the neighbours, half on either side along a curve: closes 8 spacings
_PROBES = 64
_NEAR = 3.0  # spacings within which the tangent planes of neighbours are a distance


class OrientedPointCloud:
    """`points` (N, d) with unit `normals` that point outward, and the `area` (N,) each stands for."""

    def __init__(self, points: Floats, normals: Floats | None = None) -> None:
        """Points in model space; normals are estimated where none are given."""
        self.points = points
        self.dim = points.shape[1]
        self.tree = cKDTree(points)
        reach, neighbours = self.tree.query(points, k=_NEIGHBOURS + 1, workers=-1)
        self.area = _area(reach[:, -1], self.dim)
        self.spacing = float(np.median(reach[:, 1]))
        if normals is None:
            normals = estimate_normals(points, neighbours)
            decided = np.ones(len(points), dtype=np.bool_)
            if self.dim == 2:
                normals, decided = orient_planar_normals(points, normals, _THICKEN * reach[:, -1], EXTENT)
            else:
                normals = _consistent(points, normals, neighbours, self.area)
            self.normals, self.indicator = _mended(points, normals, self.area, decided)
        else:
            self.normals = normals
            self.indicator = PoissonIndicator(points, normals * self.area[:, None], _FINEST[self.dim], EXTENT)

    def signed_distance(self, queries: Floats) -> Floats:
        """Of points (M, d): near the cloud to its tangent planes, farther to its points with a global sign."""
        distance, nearest = self.tree.query(queries, k=_NEIGHBOURS, workers=-1)
        scale = np.maximum(distance[:, :1], self.spacing)
        weight = np.exp(-((distance / scale) ** 2))
        offset = queries[:, None] - self.points[nearest]
        planes = (weight * (offset * self.normals[nearest]).sum(-1)).sum(1) / weight.sum(1)
        outside = (np.abs(queries) > EXTENT).any(axis=1) | (self.indicator(queries) >= 0)
        sign = np.where(outside, 1.0, -1.0)
        return np.where(distance[:, 0] < _NEAR * self.spacing, planes, sign * distance[:, 0])


def _area(reach: Floats, dim: int) -> Floats:
    """The share of the surface a point stands for, from the radius that holds its k neighbours."""
    return 2 * reach / _NEIGHBOURS if dim == 2 else math.pi * reach**2 / _NEIGHBOURS


def _consistent(points: Floats, normals: Floats, neighbours: Ints, area: Floats) -> Floats:
    """Signs along a spanning tree, pieces outward, pieces within pieces inward."""
    count, k = neighbours[:, 1:].shape
    start, end = np.repeat(np.arange(count), k), neighbours[:, 1:].ravel()
    cost = 1 - np.abs((normals[start] * normals[end]).sum(1)) + 1e-6  # a weight of 0 is no edge to scipy
    graph = coo_matrix((cost, (start, end)), shape=(count, count)).tocsr()
    graph = graph.maximum(graph.T)
    pieces, piece = connected_components(graph, directed=False)
    tree = minimum_spanning_tree(graph)
    normals = normals.copy()
    for number in range(pieces):
        order, before = breadth_first_order(tree, int(np.argmax(piece == number)), directed=False)
        for point in order[1:].tolist():
            if normals[point] @ normals[before[point]] < 0:
                normals[point] *= -1
        volume = (area[order] * ((points[order] - points[order].mean(0)) * normals[order]).sum(1)).sum()
        normals[order] *= 1 if volume > 0 else -1
    turned = normals.copy()
    for number in range(pieces if pieces > 1 else 0):
        own = np.flatnonzero(piece == number)
        probes = points[own[:: max(1, len(own) // _PROBES)]]
        around = sum(
            round(float(np.median(_winding(probes, points[other], normals[other], area[other]))))
            for other in (np.flatnonzero(piece == n) for n in range(pieces) if n != number)
        )
        turned[own] *= -1 if around % 2 else 1
    return turned


def _winding(probes: Floats, points: Floats, normals: Floats, area: Floats) -> Floats:
    """How often an oriented piece goes around each probe."""
    dim = points.shape[1]
    total = np.zeros(len(probes))
    for n, probe in enumerate(probes):
        offset = points - probe
        squared = (offset**2).sum(1).clip(1e-12)
        total[n] = (area * (offset * normals).sum(1) / squared ** (dim / 2)).sum()
    return total / (2 * math.pi if dim == 2 else 4 * math.pi)


def _mended(
    points: Floats, normals: Floats, area: Floats, decided: NDArray[np.bool_]
) -> tuple[Floats, PoissonIndicator]:
    """Turn normals that point down the indicator they make, until none does; the undecided have no say at first.

    A coarser lattice would turn thin parts inside out.
    """
    resolution = _FINEST[points.shape[1]]
    step = 2 * EXTENT / resolution
    for _ in range(_ROUNDS):
        indicator = PoissonIndicator(points, normals * (area * decided)[:, None], resolution, EXTENT)
        down = indicator(points + step * normals) < indicator(points - step * normals)
        if not down.any() and decided.all():
            break
        decided = np.ones_like(decided)
        normals = np.where(down[:, None], -normals, normals)
    return normals, indicator
