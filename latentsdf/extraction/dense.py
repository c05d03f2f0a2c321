"""Reference extraction: scikit-image's marching cubes on all vertices of the lattice.

Evaluates the field at all (R + 1)^3 vertices, with the same fusion of the branches as `extract`, so time and memory
grow with the volume: about 17 million evaluations at R = 256. It checks the sparse search and marching cubes of this
package, and shows surfaces that no coarse cell detects.

Triangulations differ where a cell face has two diagonally opposite inside corners: scikit-image decides by the values
(Lewiner et al. 2003), this package always separates the inside corners.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from skimage.measure import marching_cubes

from latentsdf.extraction.field import FieldSampler
from latentsdf.extraction.sparse_lattice import BLOCK_SIDE

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

_OUTSIDE = np.float32(1e6)  # of the padding; cap vertices are off the side of the box by less than 1e-6 cells


def extract_dense(
    general: FieldSampler,
    overfit: FieldSampler | None,
    resolution: int,
    *,
    growth: int,
    width: float,
    mode: str,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Triangulate the zero level set on a dense lattice.

    Args:
        general: Samples the general branch.
        overfit: Samples the overfit branch; None to extract `general` alone.
        resolution: Cells per axis R.
        growth: Dilation of the fusion band in cells.
        width: Width t of the gate of mode "smooth", in model space.
        mode: As for `extract`.

    Returns:
        Vertices (V, 3) in model space and faces (F, 3), oriented outward.

    Raises:
        EmptyLevelSetError: The field has no zero crossing.
    """
    value = _evaluate(general, resolution, np.ones((resolution + 1,) * 3, dtype=np.bool_))
    sampler = general
    if overfit is not None:
        crossed = _crossing_cells(value)
        if not crossed.any():
            raise general.empty_level_set_error()
        sampler = overfit
        value = _fused(value, crossed, overfit, growth, width, mode)
    if not _crossing_cells(_padded(value)).any():
        raise sampler.empty_level_set_error()
    vertices, faces, _, _ = marching_cubes(_padded(value), 0.0, gradient_direction="descent")
    return (vertices.astype(np.float64) - 1) * (2 / resolution) - 1, faces.astype(np.int64)


def _fused(value: Float32, crossed: Mask, overfit: FieldSampler, growth: int, width: float, mode: str) -> Float32:
    """Replace or blend the general branch with the overfit branch in the band."""
    resolution = len(value) - 1
    band = _band_vertices(crossed, 2 * growth if mode == "smooth" else growth)
    if mode == "overfit":
        band = _touched_blocks(band)
    detail = _evaluate(overfit, resolution, band)
    if mode == "smooth":
        gate = np.exp(-((value / np.float32(width)) ** 2))
        detail = gate * detail + (1 - gate) * value
    return np.where(band, detail, value)


def _evaluate(sampler: FieldSampler, resolution: int, mask: Mask) -> Float32:
    """Values at the masked vertices, 0 elsewhere, evaluated slab by slab to bound the memory of the indices."""
    value = np.zeros(mask.shape, dtype=np.float32)
    for i, slab in enumerate(mask):
        j, k = np.nonzero(slab)
        index = np.stack((np.full_like(j, i), j, k), axis=1).astype(np.int32)
        if len(index):
            value[i, j, k] = sampler(index, resolution)
    return value


def _crossing_cells(value: Float32) -> Mask:
    """Cells (R, R, R) whose corners do not all have the same sign; 0 is outside."""
    inside = value < 0
    corners = [
        inside[x : len(inside) - 1 + x, y : len(inside) - 1 + y, z : len(inside) - 1 + z] for x, y, z in _CORNERS
    ]
    return np.logical_or.reduce(corners) & ~np.logical_and.reduce(corners)


def _band_vertices(cells: Mask, growth: int) -> Mask:
    """Vertices (R + 1, R + 1, R + 1) of the cells (R, R, R), dilated by a number of cells."""
    band = np.pad(cells, (0, 1))
    for axis in range(3):
        # From `growth` vertices below to `growth + 1` vertices above the lowest vertex of a cell.
        size = 2 * growth + 2
        band = maximum_filter1d(band.view(np.uint8), size, axis=axis, mode="constant", origin=0).view(np.bool_)
    return band


def _touched_blocks(band: Mask) -> Mask:
    """All vertices of the 8^3-vertex storage blocks of `SparseLattice` that the band touches."""
    side = len(band)
    count = -(-(side + 2) // BLOCK_SIDE)
    stored = np.zeros((count * BLOCK_SIDE,) * 3, dtype=np.bool_)
    stored[1 : side + 1, 1 : side + 1, 1 : side + 1] = band
    blocks: Mask = np.asarray(stored.reshape((count, BLOCK_SIDE) * 3).any(axis=(1, 3, 5)))
    for axis in range(3):
        blocks = blocks.repeat(BLOCK_SIDE, axis=axis)
    return blocks[1 : side + 1, 1 : side + 1, 1 : side + 1]


def _padded(value: Float32) -> Float32:
    return np.pad(value, 1, constant_values=_OUTSIDE)


_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
