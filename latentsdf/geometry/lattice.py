"""Indexing of the regular lattices on which signed distances are stored.

A lattice of resolution R divides the model-space box [-1, 1]^3 into R cells per axis and has (R + 1)^3 vertices.
Vertex (i, j, k), 0 <= i, j, k <= R, has

    position      x = 2 (i, j, k) / R - 1
    linear index  n = (i (R + 1) + j) (R + 1) + k        (C order: k varies fastest)

Lattice units measure lengths in cells (one cell is 2 / R) from the corner (-1, -1, -1), so vertices have
integer coordinates.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsdf.utils.errors import ConfigError

MAX_RESOLUTION = 1624
"""Largest R for which every linear index fits a uint32."""


def check_resolution(resolution: int) -> None:
    """Check that every vertex of a lattice has a uint32 index.

    Raises:
        ConfigError: The resolution is outside 1..1624.
    """
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise ConfigError(f"resolution must be 1 to {MAX_RESOLUTION} cells per axis, got {resolution}")


def lattice_shape(resolution: int) -> tuple[int, int, int]:
    """Number of vertices along each axis, the shape of an array with one value per vertex."""
    return (resolution + 1,) * 3


def cell_size(resolution: int) -> float:
    """Edge length of a cell in model space."""
    return 2 / resolution


def band_width(resolution: int, band_voxels: float) -> float:
    """Half width in model space of a narrow band that reaches `band_voxels` cells to either side of the surface."""
    return band_voxels * 2 / resolution


def to_lattice_units(points: NDArray[Any], resolution: int) -> NDArray[Any]:
    """Convert points (..., 3) from model space to lattice units, in the floating-point type of the input."""
    return (points + 1) * (resolution / 2)


def from_lattice_units(coordinates: NDArray[Any], resolution: int) -> NDArray[np.float64]:
    """Convert integer or float64 coordinates (..., 3) from lattice units to model space."""
    positions: NDArray[np.float64] = coordinates * cell_size(resolution) - 1
    return positions


def vertex_coordinates(index: NDArray[np.integer[Any]], resolution: int) -> NDArray[np.int64]:
    """Convert linear indices (N,) to integer coordinates (i, j, k), shape (N, 3)."""
    return np.stack(np.unravel_index(np.asarray(index), lattice_shape(resolution)), axis=1)


def linear_index(coordinates: NDArray[np.integer[Any]], resolution: int) -> NDArray[np.int64]:
    """Convert integer coordinates (i, j, k), shape (N, 3), to linear indices (N,).

    Raises:
        ValueError: A coordinate is outside 0..R.
    """
    index: NDArray[np.int64] = np.ravel_multi_index(tuple(coordinates.T), lattice_shape(resolution))
    return index


def lattice_positions(index: NDArray[np.integer[Any]], resolution: int) -> NDArray[np.float64]:
    """Positions (N, 3) in model space of the vertices with linear indices (N,), in float64."""
    return from_lattice_units(vertex_coordinates(index, resolution), resolution)


def lattice_points(index: NDArray[np.integer[Any]], resolution: int) -> NDArray[np.float32]:
    """`lattice_positions` rounded to float32, the precision of the positions that the networks are evaluated at."""
    return lattice_positions(index, resolution).astype(np.float32)
