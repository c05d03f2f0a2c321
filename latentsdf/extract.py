"""Signed distances to a triangle mesh: coarse to fine around the surface, fused in a band, marching cubes, weld.

Cost and memory follow the surface, not the box. The result equals marching cubes on the dense lattice as long as the
general field changes by no more than `lipschitz` per unit length; where it is steeper the surface is still followed
once any of it is found, and only pieces that no coarse cell hints at can be missed. A band that is many cells thick is
searched in the same way, once coarser.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from latentsdf.blocks import Blocks, Ints, Mask, allocate, lookup
from latentsdf.errors import ConfigError, EmptyLevelSetError, LatentSDFError
from latentsdf.geometry.simplify import simplify
from latentsdf.marching import marching_cubes
from latentsdf.normals import of_surface
from latentsdf.octree import active_cells, crossing_cells, crossing_vertices, halve, refine

SignedDistance = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 in model space to signed distances (N,), negative inside."""
Mode = Literal["general", "overfit", "fused", "smooth"]

BAND_RESOLUTION = 512
"""`band_voxels` counts cells of this lattice; the band keeps its width in model space at other resolutions."""
_COARSEST = 32  # a field trained with distances clamped at 0.1 still passes the Lipschitz guard there
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
    coarse = _Sampler("general", general, level, chunk, device)
    levels = _descend(coarse, resolution, lipschitz)
    fuse = overfit is not None and mode != "general"
    blocks = _settle(levels[-1], coarse, exact=not fuse)
    cells = crossing_cells(blocks)
    if not cells.any():
        raise coarse.empty()
    if overfit is not None and fuse:
        fine = _Sampler("overfit", overfit, level, chunk, device)
        grow = _growth(band_voxels, resolution)
        pasted, band = _paste(blocks, cells, grow, levels, coarse, fine, mode, lipschitz)
        blocks = _settle(pasted, _Pasted(pasted, band, fine, coarse))
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
    field = _Sampler("general", general, 0.0, _CHUNK, device)
    blocks = _settle(_descend(field, resolution, _LIPSCHITZ)[-1], field, exact=False)
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


class _Sampler:
    """One field, evaluated in chunks and checked; remembers the range of what it saw."""

    def __init__(self, name: str, field: SignedDistance, level: float, chunk: int, device: torch.device | str) -> None:
        self.name, self.field, self.level, self.chunk, self.device = name, field, level, chunk, device
        self.low, self.high = math.inf, -math.inf

    def __call__(self, index: Ints, resolution: int) -> NDArray[np.float32]:
        """Values minus the level at lattice vertices (N, 3)."""
        axis = (torch.arange(resolution + 1, dtype=torch.float64) * (2 / resolution) - 1).float().to(self.device)
        values = np.empty(len(index), dtype=np.float32)
        for start in range(0, len(index), self.chunk):
            points = axis[torch.from_numpy(index[start : start + self.chunk]).to(self.device)]
            with torch.no_grad():
                found = self.field(points)
            values[start : start + self.chunk] = self._checked(found, points)
        return values - np.float32(self.level)

    def _checked(self, found: Tensor, points: Tensor) -> NDArray[np.float32]:
        if found.shape != points.shape[:1]:
            raise ValueError(
                f"the {self.name} field must return one distance a point, shape ({len(points)},), "
                f"got shape {tuple(found.shape)}."
            )
        bad = ~torch.isfinite(found)
        if bad.any():
            where = ", ".join(f"{x:.4f}" for x in points[bad][0].tolist())
            raise LatentSDFError(
                f"the {self.name} field is not finite at {int(bad.sum())} of {len(points)} points, "
                f"the first at ({where}). Check the code and the checkpoint for values that are not finite."
            )
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        return found.detach().to("cpu", torch.float32).numpy()

    def fill(self, blocks: Blocks, mask: Mask) -> None:
        """Evaluate the vertices under the mask into the lattice; those outside the box become +inf."""
        outside = blocks.padding() & mask
        blocks.value[outside] = np.inf
        mask = mask & ~outside
        blocks.value[mask] = self(blocks.index(mask), blocks.resolution)
        blocks.exact[mask | outside] = True

    def empty(self) -> EmptyLevelSetError:
        """What to raise when the field never crosses the level."""
        side = "outside" if self.low >= self.level else "inside" if self.high < self.level else "on either side"
        return EmptyLevelSetError(
            f"no surface: the {self.name} field takes values from {self.low:.4g} to {self.high:.4g} where it was "
            f"looked at, {side} of level {self.level:g}, and no lattice cell in [-1, 1]^3 has both signs. Check that "
            "the shape lies in model space and that negative means inside, train longer, or pass another `level`."
        )


@dataclass(frozen=True)
class _Pasted:
    """One field on the vertices under a mask, another one elsewhere."""

    blocks: Blocks
    mask: Mask
    here: _Sampler
    elsewhere: _Sampler

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
    if _coarsest(resolution) > _LARGEST_COARSE:
        step = 2 ** math.ceil(math.log2(resolution / _LARGEST_COARSE))
        below = resolution // step * step
        raise ConfigError(
            f"resolution {resolution} does not halve down to a coarse lattice of at most {_LARGEST_COARSE} cells; "
            f"the nearest that do are {below} and {below + step}."
        )


def _coarsest(resolution: int) -> int:
    while resolution % 2 == 0 and resolution // 2 >= _COARSEST:
        resolution //= 2
    return resolution


def _descend(field: _Sampler, resolution: int, lipschitz: float) -> list[Blocks]:
    """The field on lattices from coarse to fine, each around the cells of the one before that can hold its zero set.

    A point of a cell is within half a diagonal of a corner, so a cell without sign change can hold a zero only if
    some corner's magnitude is at most `lipschitz` times that.
    """
    blocks = allocate(_coarsest(resolution))
    field.fill(blocks, blocks.stored())
    levels = [blocks]
    while blocks.resolution < resolution:
        edge = 2 / blocks.resolution
        guard = lipschitz * math.sqrt(3) / 2
        last = blocks.resolution * 2 == resolution
        active = active_cells(blocks, guard * edge)
        blocks, pending = refine(blocks, active, lipschitz * edge / 2, 0.0 if last else guard * edge / 2)
        field.fill(blocks, pending)
        levels.append(blocks)
    return levels


def _settle(blocks: Blocks, field: _Sampler | _Pasted, *, exact: bool = True) -> Blocks:
    """Complete the lattice around every crossed edge; with `exact`, replace bounds at the ends of crossed edges."""
    while True:
        ends = crossing_vertices(blocks)
        grown, around = blocks.spread(ends, 1, 1, padding=True)
        pending = around & np.isnan(grown.value)
        if exact:
            pending[grown.rows(blocks)] |= ends & ~blocks.exact
        if not pending.any():
            return grown
        blocks = grown
        field.fill(blocks, pending)


def _paste(
    blocks: Blocks,
    cells: Mask,
    grow: int,
    levels: list[Blocks],
    general: _Sampler,
    overfit: _Sampler,
    mode: Mode,
    lipschitz: float,
) -> tuple[Blocks, Mask]:
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
        _search(blocks, band, overfit, lipschitz)
    else:
        overfit.fill(blocks, band)
    inside = blocks
    blocks, ring = blocks.spread(band, 1, 1, padding=True)
    absent = ring & np.isnan(blocks.value)
    blocks.value[absent & blocks.padding()] = np.inf
    absent &= ~blocks.padding()
    blocks.value[absent] = _signs(levels, blocks.index(absent), blocks.resolution)
    pasted = np.zeros_like(ring)
    pasted[blocks.rows(inside)] = band
    return blocks, pasted


def _search(blocks: Blocks, mask: Mask, field: _Sampler, lipschitz: float) -> None:
    """Fill the vertices under the mask, with bounds where half the resolution already tells the sign."""
    half, corners = halve(blocks, mask)
    field.fill(half, corners)
    finer, _ = refine(half, active_cells(half, math.inf), lipschitz / half.resolution, 0.0)
    rows = blocks.rows(finer)
    shared = rows >= 0
    rows = rows[shared]
    known = mask[rows] & ~np.isnan(finer.value[shared])
    blocks.value[mask] = np.nan
    blocks.value[rows] = np.where(known, finer.value[shared], blocks.value[rows])
    blocks.exact[mask] = False
    blocks.exact[rows] |= known & finer.exact[shared]
    field.fill(blocks, mask & np.isnan(blocks.value))


def _signs(levels: list[Blocks], index: Ints, resolution: int) -> NDArray[np.float32]:
    """Bounds for the general field at vertices that were never refined: the sign of the cell they lie in."""
    value = np.full(len(index), np.nan, dtype=np.float32)
    for blocks in reversed(levels):
        left = np.flatnonzero(np.isnan(value))
        value[left] = lookup(blocks, index[left] // np.int32(resolution // blocks.resolution))
    return np.copysign(np.finfo(np.float32).tiny, value)


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
