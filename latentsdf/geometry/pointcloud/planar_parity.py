"""Normal orientation for closed planar curves, given as unordered points, by the even-odd rule.

1. Dilate the points until the gaps between neighbors on the curve close.
2. Label the connected regions of the remaining plane. Assign each pixel of the dilated curve to the nearest region.
3. Connect adjacent regions by a spanning tree that prefers long contacts. A region is outside if its path to the corner
   of the box crosses the curve an even number of times.
4. Orient each normal from an inside region to an outside region.

Unlike propagation of signs from point to point, this is robust to sharp corners.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RESOLUTION = 1024  # pixels per axis
_MIN_RADIUS = 1.5  # pixels
_MIN_REGION_AREA = 16  # pixels
_PROBE_DISTANCES = (1.5, 3.0)  # distances of the probes on both sides of a point, relative to its radius
_RADIUS_STEPS = 4  # per octave: points of similar radius share one distance transform


def orient_planar_normals(
    points: Floats, normals: Floats, radius: Floats, extent: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Orient normals of closed planar curves outward.

    Args:
        points: Points (N, 2) on the curves, inside the box [-extent, extent]^2.
        normals: Unit normals (N, 2) of arbitrary sign.
        radius: Dilation radius (N,) of each point: half the widest expected gap around it.
        extent: Half the side of the box.

    Returns:
        Oriented normals (N, 2), and a mask (N,) of the normals that could be oriented; the others keep their sign.
    """
    radius = np.maximum(radius, _MIN_RADIUS * 2 * extent / _RESOLUTION)
    is_outside = _ParityMap(points, radius, extent)
    decided = np.zeros(len(points), dtype=np.bool_)
    oriented = normals.copy()
    for distance in _PROBE_DISTANCES:
        front, back = (is_outside(points + sign * (distance * radius)[:, None] * normals) for sign in (1, -1))
        newly_decided = (front != back) & ~decided
        oriented[newly_decided & back] *= -1
        decided |= newly_decided
    return oriented, decided


class _ParityMap:
    """Raster of the plane that classifies points as inside or outside by the even-odd rule."""

    def __init__(self, points: Floats, radius: Floats, extent: float) -> None:
        self.extent = extent
        free = np.ones((_RESOLUTION, _RESOLUTION), dtype=np.bool_)
        level = np.floor(_RADIUS_STEPS * np.log2(radius))
        for number in np.unique(level):
            empty = np.ones_like(free)
            empty[self._pixel(points[level == number])] = False
            dilation = 2 ** ((number + 1) / _RADIUS_STEPS)
            free &= distance_transform_edt(empty) * (2 * extent / _RESOLUTION) > dilation
        regions, count = label(free)
        area = np.bincount(regions.ravel(), minlength=count + 1)
        regions[area[regions] < _MIN_REGION_AREA] = 0
        nearest = distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
        self.region = regions[tuple(nearest)]
        self.outside = self._crossing_parity(count) == 0

    def __call__(self, points: Floats) -> NDArray[np.bool_]:
        return np.asarray(self.outside[self.region[self._pixel(points)]])

    def _pixel(self, points: Floats) -> tuple[Ints, ...]:
        index = ((points / self.extent + 1) * (_RESOLUTION / 2)).astype(np.int64)
        return tuple(index.clip(0, _RESOLUTION - 1).T)

    def _crossing_parity(self, count: int) -> Ints:
        """Return the parity (count + 1,) of the number of crossings between each region and the corner of the box."""
        region = self.region
        pairs = np.concatenate(
            [
                np.stack((region[:-1].ravel(), region[1:].ravel()), axis=1),
                np.stack((region[:, :-1].ravel(), region[:, 1:].ravel()), axis=1),
            ]
        )
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        contact = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count + 1, count + 1)).tocsr()
        contact = contact + contact.T
        contact.data = 1 / contact.data  # a minimum spanning tree prefers small weights, hence long contacts
        order, parent = breadth_first_order(minimum_spanning_tree(contact), int(region[0, 0]), directed=False)
        crossings = np.zeros(count + 1, dtype=np.int64)
        for number in order[1:].tolist():
            crossings[number] = crossings[parent[number]] + 1
        return crossings % 2
