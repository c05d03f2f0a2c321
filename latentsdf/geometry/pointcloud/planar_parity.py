"""Which side of a closed planar curve is outside, from unordered points on it: every crossing changes the side.

The points are thickened until their gaps close; what remains of the plane falls into regions, and neighbours across
the curve are of different sides, counted from the one at the corner of the box. Corners however sharp do not matter,
where normals that are carried from point to point turn over.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RESOLUTION = 1024
_THINNEST = 1.5  # pixels
_SMALLEST = 16  # pixels of a region
_LOOK = (1.5, 3.0)  # how far along the normal the sides are looked up, in reaches


def orient_planar_normals(
    points: Floats, normals: Floats, reach: Floats, extent: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Normals (N, 2) turned outward, and which could be decided.

    `reach` (N,) is the radius that each point is thickened to: half the widest gap expected around it.
    """
    reach = np.maximum(reach, _THINNEST * 2 * extent / _RESOLUTION)
    outside = _Sides(points, reach, extent)
    decided = np.zeros(len(points), dtype=np.bool_)
    turned = normals.copy()
    for far in _LOOK:
        front, back = (outside(points + side * (far * reach)[:, None] * normals) for side in (1, -1))
        fresh = (front != back) & ~decided
        turned[fresh & back] *= -1
        decided |= fresh
    return turned, decided


class _Sides:
    """Is a point outside, by the region nearest to it."""

    def __init__(self, points: Floats, reach: Floats, extent: float) -> None:
        self.extent = extent
        free = np.ones((_RESOLUTION, _RESOLUTION), dtype=np.bool_)
        # Points of about the same reach share a distance transform.
        octave = np.floor(4 * np.log2(reach))
        for number in np.unique(octave):
            empty = np.ones_like(free)
            empty[self._pixel(points[octave == number])] = False
            radius = 2 ** ((number + 1) / 4)
            free &= distance_transform_edt(empty) * (2 * extent / _RESOLUTION) > radius
        regions, count = label(free)
        size = np.bincount(regions.ravel(), minlength=count + 1)
        regions[size[regions] < _SMALLEST] = 0
        nearest = distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
        self.region = regions[tuple(nearest)]
        self.outside = self._parity(count) == 0

    def __call__(self, points: Floats) -> NDArray[np.bool_]:
        return np.asarray(self.outside[self.region[self._pixel(points)]])

    def _pixel(self, points: Floats) -> tuple[Ints, ...]:
        index = ((points / self.extent + 1) * (_RESOLUTION / 2)).astype(np.int64)
        return tuple(index.clip(0, _RESOLUTION - 1).T)

    def _parity(self, count: int) -> Ints:
        """Crossings (regions,) from the corner, over the longest contacts."""
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
        contact.data = 1 / contact.data
        order, before = breadth_first_order(minimum_spanning_tree(contact), int(region[0, 0]), directed=False)
        crossings = np.zeros(count + 1, dtype=np.int64)
        for number in order[1:].tolist():
            crossings[number] = crossings[before[number]] + 1
        return crossings % 2
