"""Signed distances to a triangle mesh: coarse to fine around the surface, fused in a band, marching cubes, weld.

Cost and memory follow the surface, not the box. The result equals marching cubes on the dense lattice as long as the
general field changes by no more than `lipschitz` per unit length; where it is steeper the surface is still followed
once any of it is found, and only pieces that no coarse cell hints at can be missed. A band that is many cells thick is
searched in the same way, once coarser.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from latentsdf.extraction.coarse_to_fine import (
    Sampler,
    SignedDistance,
    coarsest,
    descend,
    fill_around_zeros,
    settle,
    signs_of,
)
from latentsdf.extraction.marching_cubes import marching_cubes
from latentsdf.extraction.normals import of_surface
from latentsdf.extraction.octree import crossing_cells
from latentsdf.extraction.simplify import simplify
from latentsdf.extraction.sparse_lattice import Blocks, Mask
from latentsdf.utils.errors import ConfigError

Mode = Literal["general", "overfit", "fused", "smooth"]

BAND_RESOLUTION = 512
"""`band_voxels` counts cells of this lattice; the band keeps its width in model space at other resolutions."""
_LARGEST_COARSE = 128
_CHUNK = 16_384
_LIPSCHITZ = 1.5
_THICK = 6  # cells by which a band is grown, from which it pays to look for the surface on half the resolution first


def extract(
    general: SignedDistance,
    overfit: SignedDistance | None = None,
    *,
    resolution: int = 256,
    band_voxels: float = 3.0,
    mode: Mode = "fused",
    level: float = 0.0,
    largest_component: bool = False,
    smallest_piece: float = 0.0,
    faces: int | None = None,
    normals: bool = False,
    chunk: int = _CHUNK,
    device: torch.device | str = "cpu",
    lipschitz: float = _LIPSCHITZ,
) -> trimesh.Trimesh:
    """The level set as a watertight mesh in model space, faces outward; a surface leaving the box gets a cap.

    `resolution` counts cells per axis of [-1, 1]^3: 16 to 1024, halving down to at most 128. The band is the set of
    cells in which `general` changes sign, grown by `band_voxels` cells of a 512 lattice in each index (METHODS 1.5).
    At other resolutions its width in model space is kept, but it is grown by at least 2 cells. Where it is grown by 6,
    as at 1024 by default, or more, `fused` takes `overfit` to change by no more than `lipschitz` per unit length, too.

    - general: `general` alone.
    - fused: `overfit` on the vertices of the band, `general` elsewhere; also what `overfit=None` amounts to.
    - overfit: as fused, on the whole 8^3-vertex blocks that touch the band; shows what `overfit` does away from it.
    - smooth: w * overfit + (1 - w) * general, w = exp(-(general / width of the band)^2), within twice the band.

    Points are evaluated `chunk` at a time on `device`. With `largest_component` only the piece of largest area is
    kept, else connected pieces with at least the share `smallest_piece` of that area. `faces` simplifies the mesh to
    about so many, which then is no longer exact nor sure to be watertight. With `normals` it has the field's as its
    `vertex_normals`, which .ply, .obj and .glb files keep: exact where the field can be differentiated.

    Raises ConfigError for unusable settings, EmptyLevelSetError when there is no surface, LatentSDFError when a field
    is not finite somewhere, ValueError when it returns the wrong shape.
    """
    _check(overfit, resolution, band_voxels, mode, chunk, lipschitz)
    if not 0 <= smallest_piece <= 1:
        raise ConfigError(f"smallest_piece is a share of an area, 0 to 1, got {smallest_piece}.")
    coarse = Sampler("general", general, level, chunk, device)
    levels = descend(coarse, resolution, lipschitz)
    fuse = overfit is not None and mode != "general"
    blocks = settle(levels[-1], coarse, exact=not fuse)
    cells = crossing_cells(blocks)
    if not cells.any():
        raise coarse.empty()
    if overfit is not None and fuse:
        fine = Sampler("overfit", overfit, level, chunk, device)
        grow = _growth(band_voxels, resolution)
        pasted = _paste(blocks, cells, grow, levels, coarse, fine, mode, lipschitz)
        blocks = settle(pasted.blocks, pasted)
        if not crossing_cells(blocks).any():
            raise fine.empty()
    vertices, triangles = marching_cubes(blocks)
    if largest_component or smallest_piece > 0:
        vertices, triangles = _without_specks(vertices, triangles, 1.0 if largest_component else smallest_piece)
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    if faces is not None:
        mesh = simplify(mesh, faces)
    if normals:
        field = general
        if overfit is not None and fuse:
            field = _blend(general, overfit, _gate_width(resolution, band_voxels)) if mode == "smooth" else overfit
        mesh.vertex_normals = of_surface(field, mesh, device)
    return mesh


class CellMask(NamedTuple):
    """Some cells (B, 512) of the blocks of a lattice, each named by its lowest vertex."""

    blocks: Blocks
    cells: Mask


def band_cells(general: SignedDistance, resolution: int, band_voxels: float, device: torch.device | str) -> CellMask:
    """The cells in which `extract` fuses at this resolution; none where `general` has no surface."""
    _check(None, resolution, band_voxels, "general", _CHUNK, _LIPSCHITZ)
    field = Sampler("general", general, 0.0, _CHUNK, device)
    blocks = settle(descend(field, resolution, _LIPSCHITZ)[-1], field, exact=False)
    grow = _growth(band_voxels, resolution)
    return CellMask(*blocks.spread(crossing_cells(blocks), grow, grow, padding=False))


def _growth(band_voxels: float, resolution: int) -> int:
    """Cells by which the crossed cells are grown."""
    return max(min(2, math.ceil(band_voxels)), round(band_voxels * resolution / BAND_RESOLUTION))


def _gate_width(resolution: int, band_voxels: float) -> float:
    """The width of the band in model space."""
    return _growth(band_voxels, resolution) * 2 / resolution


def _blend(general: SignedDistance, overfit: SignedDistance, width: float) -> SignedDistance:
    """What mode `smooth` has on its band, at points anywhere."""

    def distance(points: Tensor) -> Tensor:
        smooth = general(points)
        gate = torch.exp(-((smooth / width) ** 2))
        return gate * overfit(points) + (1 - gate) * smooth

    return distance


@dataclass(frozen=True)
class _Pasted:
    """A lattice with one field on the vertices under a mask, another one elsewhere."""

    blocks: Blocks
    mask: Mask
    here: Sampler
    elsewhere: Sampler

    def fill(self, blocks: Blocks, mask: Mask) -> None:
        """As a sampler's, for lattices grown from this one's."""
        here = np.zeros_like(mask)
        here[blocks.rows(self.blocks)] = self.mask
        self.here.fill(blocks, mask & here)
        self.elsewhere.fill(blocks, mask & ~here)


def _check(
    overfit: SignedDistance | None, resolution: int, band_voxels: float, mode: str, chunk: int, lipschitz: float
) -> None:
    if mode not in get_args(Mode):
        raise ConfigError(f"mode must be one of {', '.join(get_args(Mode))}, got '{mode}'.")
    if overfit is None and mode in ("overfit", "smooth"):
        raise ConfigError(f"mode '{mode}' needs the `overfit` field; pass it, or use mode='general'.")
    require_resolution(resolution)
    for name, value in (("band_voxels", band_voxels), ("chunk", chunk), ("lipschitz", lipschitz)):
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} must be positive and finite, got {value}.")


def require_resolution(resolution: int) -> None:
    """Raise ConfigError for a number of cells per axis that `extract` does not take."""
    if not (16 <= resolution <= 1024 and resolution == int(resolution)):
        raise ConfigError(f"resolution must be a whole number from 16 to 1024 cells per axis, got {resolution}.")
    if coarsest(resolution) > _LARGEST_COARSE:
        step = 2 ** math.ceil(math.log2(resolution / _LARGEST_COARSE))
        below = resolution // step * step
        raise ConfigError(
            f"resolution {resolution} does not halve down to a coarse lattice of at most {_LARGEST_COARSE} cells; "
            f"the nearest that do are {below} and {below + step}."
        )


def _paste(
    blocks: Blocks,
    cells: Mask,
    grow: int,
    levels: list[Blocks],
    general: Sampler,
    overfit: Sampler,
    mode: Mode,
    lipschitz: float,
) -> _Pasted:
    """The lattice with the overfitting field on the band around the given cells, and one more vertex all around."""
    if mode == "smooth":
        grow *= 2
    blocks, band = blocks.spread(cells, grow, grow + 1, padding=False)
    if mode == "overfit":
        band = band.any(axis=1, keepdims=True) & blocks.stored() & ~blocks.padding()
    if mode == "smooth":
        general.fill(blocks, band & ~blocks.exact)
        smooth = blocks.value[band]
        gate = np.exp(-((smooth / (grow / 2 * 2 / blocks.resolution)) ** 2))
        overfit.fill(blocks, band)
        blocks.value[band] = gate * blocks.value[band] + (1 - gate) * smooth
    elif mode == "fused" and grow >= _THICK and blocks.resolution % 2 == 0:
        fill_around_zeros(blocks, band, overfit, lipschitz)
    else:
        overfit.fill(blocks, band)
    inside = blocks
    blocks, ring = blocks.spread(band, 1, 1, padding=True)
    absent = ring & np.isnan(blocks.value)
    blocks.value[absent & blocks.padding()] = np.inf
    absent &= ~blocks.padding()
    blocks.value[absent] = signs_of(levels, blocks.index(absent), blocks.resolution)
    pasted = np.zeros_like(ring)
    pasted[blocks.rows(inside)] = band
    return _Pasted(blocks, pasted, overfit, general)


def _without_specks(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], share: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The connected pieces with at least this share of the area of the largest."""
    links = coo_array((np.ones(2 * len(faces), dtype=bool), (faces[:, :2].ravel(), faces[:, 1:].ravel())))
    links.resize(len(vertices), len(vertices))
    piece = connected_components(links, directed=False)[1][faces[:, 0]]
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.bincount(piece, weights=np.linalg.norm(np.cross(b - a, c - a), axis=1))
    used, kept = np.unique(faces[area[piece] >= share * area.max()], return_inverse=True)
    return vertices[used], kept.reshape(-1, 3)
