"""Signed distance of a solid with the unsigned distances of another backend (`mesh_distance.BACKENDS`).

Signs do not depend on the backend: an approximate closest face would make some of them wrong.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from latentsdf.config.sampling import DistanceBackend
from latentsdf.geometry.lattice import band_width, lattice_positions
from latentsdf.geometry.mesh_sdf.mesh_distance import BACKENDS
from latentsdf.geometry.mesh_sdf.solid import SignedLattice, Solid

Floats = NDArray[np.float64]

_CHUNK = 1 << 20  # lattice vertices


def distance_of_backend(solid: Solid, backend: DistanceBackend) -> Callable[[Floats], Floats]:
    """Return the signed distance function of a solid, measured by a backend.

    Args:
        solid: The solid; lattices that it has computed accelerate the signs.
        backend: Name of the backend.

    Returns:
        Map from points (N, 3) to signed distances (N,), negative inside.

    Raises:
        MissingExtraError: The backend is not installed.
    """
    to_body = BACKENDS[backend](solid.body) if len(solid.body.faces) else None
    to_sheets = BACKENDS[backend](solid.sheets) if len(solid.sheets.faces) else None

    def distance(points: Floats) -> Floats:
        signed = np.full(len(points), np.inf)
        if to_body is not None:
            unsigned = to_body(points)[0]
            signed = np.where(solid.inside_body(points), -unsigned, unsigned)
        return signed if to_sheets is None else np.minimum(signed, to_sheets(points)[0] - solid.radius)

    return distance


def remeasured(lattice: SignedLattice, distance: Callable[[Floats], Floats]) -> SignedLattice:
    """Return the distances at the vertices of a lattice as measured by another distance function.

    The signs stay those of the lattice, which are decided together for connected vertices (`lattice_sign`).
    """
    values = np.empty(len(lattice.index), np.float32)
    for start in range(0, len(values), _CHUNK):
        some = slice(start, start + _CHUNK)
        measured = distance(lattice_positions(lattice.index[some], lattice.resolution))
        values[some] = np.copysign(measured, lattice.distance[some])
    return SignedLattice(lattice.resolution, lattice.index, values)


def within_band(lattice: SignedLattice, voxels: float) -> SignedLattice:
    """Return the vertices of a lattice whose absolute distance is at most a number of cells."""
    kept = np.abs(lattice.distance) <= band_width(lattice.resolution, voxels)
    return SignedLattice(lattice.resolution, lattice.index[kept], lattice.distance[kept])
