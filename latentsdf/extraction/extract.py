"""Mesh extraction from signed distance fields: coarse-to-fine search, fusion of two branches, marching cubes.

With s_g the general branch, s_o the overfit branch and the fusion band B, the extracted surface is the level set of

    s(x) = s_o(x) in B,  s_g(x) elsewhere        (mode "fused").

B consists of the cells in which s_g changes sign, dilated by a number of cells in each index (Bai et al. 2026,
Compact-SDF). Mode "smooth" blends the branches instead: s = w s_o + (1 - w) s_g with w = exp(-(s_g / t)^2) and t the
width of the dilation in model space, within a band twice as wide.

Time and memory are proportional to the surface area in cells, not to the volume of the box. The result equals marching
cubes on the dense lattice as long as s_g changes by at most `lipschitz` per unit length. Where s_g is steeper, every
surface component that a coarse cell detects is still followed completely; only components that no coarse cell detects
can be missed. In a band that is many cells thick, s_o is searched in the same way, starting at half the resolution.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from pydantic import Field as Range
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from latentsdf.config.arguments import check_arguments
from latentsdf.extraction.coarse_to_fine import (
    MIN_COARSE_RESOLUTION,
    coarsest_resolution,
    complete_surface_cells,
    evaluate_coarse_to_fine,
    refine_around_zero_set,
    sign_bounds,
)
from latentsdf.extraction.dense import extract_dense
from latentsdf.extraction.field import FieldSampler, SignedDistance, as_field
from latentsdf.extraction.marching_cubes import marching_cubes
from latentsdf.extraction.normals import surface_normals
from latentsdf.extraction.octree import crossing_cells
from latentsdf.extraction.simplify import simplify
from latentsdf.extraction.sparse_lattice import Mask, SparseLattice
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.utils.errors import ConfigError

Mode = Literal["general", "overfit", "fused", "smooth", "overfit_box"]
"""How the two branches are combined; see `extract`."""

MarchingCubes = Literal["sparse", "skimage"]
"""Marching cubes implementation: `sparse` visits lattice cells near the surface, `skimage` (scikit-image) all cells."""

BAND_RESOLUTION = 512
"""`band_voxels` counts cells of this lattice; the band keeps its width in model space at other resolutions."""
_MAX_COARSE_RESOLUTION = 128
_CHUNK = 16_384
_LIPSCHITZ = 1.5
_THICK_BAND_CELLS = 6  # smallest dilation for which searching at half resolution reduces the total cost


@check_arguments
def extract(
    general: SignedDistance | trimesh.Trimesh,
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
    device: torch.device | str | None = None,
    lipschitz: float = _LIPSCHITZ,
    coarsest: Annotated[int, Range(strict=True, ge=8, le=128)] = MIN_COARSE_RESOLUTION,
    method: MarchingCubes = "sparse",
) -> trimesh.Trimesh:
    """Extract a level set as a watertight triangle mesh in the frame of the field.

    The box is [-1, 1]^3, or, if `general` is a `Field`, the box that it names. Faces are oriented outward. A surface
    that leaves the box is closed by a cap on the side of the box.

    Args:
        general: Signed distance of the general branch, or a single field: any function from points (N, 3) to distances
            (N,), as a tensor or array; a `Field`, such as `ShapeSpace.field` or `union` return; or a mesh.
        overfit: Signed distance of the overfit branch in the same frame, or None for a single field.
        resolution: Cells per axis of [-1, 1]^3, 16 to 1024. Halving it repeatedly must give an integer of at most
            128.
        band_voxels: Dilation of the band, in cells of a 512^3 lattice. At other resolutions the band keeps its width in
            model space, but is dilated by at least 2 cells. If the dilation is 6 cells or more, as at resolution 1024
            with the default, mode "fused" assumes that `overfit`, too, changes by at most `lipschitz` per unit length.
        mode: "general" extracts `general` alone. "fused" takes `overfit` at the vertices of the band and `general`
            elsewhere; without `overfit` it equals "general". "overfit" takes `overfit` in all 8^3-vertex blocks that
            touch the band, which shows its behavior away from the surface. "smooth" blends both with a Gaussian gate
            (see the module docstring). "overfit_box" extracts `overfit` alone in the whole box, with all surfaces far
            from that of `general`; small ones can be missed where it is steeper than `lipschitz`, except with `method`
            "skimage".
        level: Level to extract.
        largest_component: Whether to keep only the connected component of largest area.
        smallest_piece: Connected components with less than this fraction of the largest one's area are removed, 0 to 1.
        faces: Number of faces to simplify the mesh to, approximately; the result is not exact and may not be
            watertight. None for no simplification.
        normals: Whether to set the mesh's `vertex_normals` from the gradient of the field (central differences for a
            field that is not differentiable). Files of type .ply, .obj and .glb store them.
        chunk: Points per evaluation of a field.
        device: Device on which the fields are evaluated; by default that of a `Field`, and the CPU otherwise.
        lipschitz: Assumed Lipschitz constant of the fields.
        coarsest: The search starts on a lattice with at least this number of cells per axis, 8 to 128. Fewer cells take
            less time at low resolutions, but small components are then easier to miss where the field is steeper than
            `lipschitz`.
        method: "sparse" evaluates the field near the surface only. "skimage" evaluates it at all lattice vertices and
            triangulates by `skimage.measure.marching_cubes`, the reference; `lipschitz` has no effect.

    Returns:
        The mesh.

    Raises:
        ConfigError: A setting is invalid, a field is not callable, or it does not return one distance per point.
        EmptyLevelSetError: The field does not cross the level.
        LatentSDFError: A field returns a value that is not finite.

    Example:
        >>> mesh = extract(lambda points: points.norm(dim=1) - 0.5, resolution=64)
        >>> mesh.is_watertight
        True
    """
    _validate_arguments(overfit, resolution, band_voxels, mode, chunk, lipschitz)
    if not 0 <= smallest_piece <= 1:
        raise ConfigError(f"smallest_piece is a share of an area, 0 to 1, got {smallest_piece}")
    if method not in get_args(MarchingCubes):
        raise ConfigError(f"method must be one of {', '.join(get_args(MarchingCubes))}, got '{method}'")
    field = as_field(general)
    domain, device = field.domain, field.device if device is None else device
    general, level = field.in_model_space(), level * domain.scale
    if overfit is not None:
        overfit = replace(field, function=as_field(overfit).function).in_model_space()
    alone = "general"
    if mode == "overfit_box":
        assert overfit is not None
        alone, general, overfit = "overfit", overfit, None
    general_sampler = FieldSampler(alone, general, level, chunk, device)
    fuse = overfit is not None and mode != "general"
    overfit_sampler = None
    if overfit is not None and fuse:
        overfit_sampler = FieldSampler("overfit", overfit, level, chunk, device)
    growth = _band_growth(band_voxels, resolution)
    if method == "skimage":
        width = _band_width(growth, resolution)
        vertices, triangles = extract_dense(
            general_sampler, overfit_sampler, resolution, growth=growth, width=width, mode=mode
        )
    else:
        vertices, triangles = _extract_sparse(
            general_sampler, overfit_sampler, resolution, growth, mode, lipschitz, coarsest
        )
    if largest_component or smallest_piece > 0:
        min_share = 1.0 if largest_component else smallest_piece
        vertices, triangles = _remove_small_components(vertices, triangles, min_share)
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    if faces is not None:
        mesh = simplify(mesh, faces)
    if normals:
        shown = general
        if overfit is not None and fuse:
            width = _band_width(growth, resolution)
            shown = _smooth_blend(general, overfit, width) if mode == "smooth" else overfit
        mesh.vertex_normals = surface_normals(shown, mesh, device)
    return mesh if domain == IDENTITY else to_user_frame(mesh, domain, normals=normals)


def _extract_sparse(
    general_sampler: FieldSampler,
    overfit_sampler: FieldSampler | None,
    resolution: int,
    growth: int,
    mode: Mode,
    lipschitz: float,
    coarsest: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the cells of the surface coarse to fine and triangulate them; returns vertices and faces."""
    levels = refine_around_zero_set(general_sampler, resolution, lipschitz, coarsest)
    lattice = complete_surface_cells(levels[-1], general_sampler, exact=overfit_sampler is None)
    cells = crossing_cells(lattice)
    if not cells.any():
        raise general_sampler.empty_level_set_error()
    if overfit_sampler is not None:
        fused = _fuse_branches(lattice, cells, growth, levels, general_sampler, overfit_sampler, mode, lipschitz)
        lattice = complete_surface_cells(fused.lattice, fused)
        if not crossing_cells(lattice).any():
            raise overfit_sampler.empty_level_set_error()
    return marching_cubes(lattice)


class CellMask(NamedTuple):
    """A subset (B, 512) of the cells of a lattice, each at the index of its lowest vertex."""

    lattice: SparseLattice
    cells: Mask


def find_band_cells(
    general: SignedDistance, resolution: int, band_voxels: float, device: torch.device | str
) -> CellMask:
    """Compute the cells of the fusion band that `extract` uses with the same settings.

    Args:
        general: Signed distance of the general branch.
        resolution: Cells per axis of [-1, 1]^3.
        band_voxels: Dilation of the band, in cells of a 512^3 lattice.
        device: Device on which `general` is evaluated.

    Returns:
        The cells; none if `general` has no surface.
    """
    _validate_arguments(None, resolution, band_voxels, "general", _CHUNK, _LIPSCHITZ)
    sampler = FieldSampler("general", general, 0.0, _CHUNK, device)
    finest = refine_around_zero_set(sampler, resolution, _LIPSCHITZ)[-1]
    lattice = complete_surface_cells(finest, sampler, exact=False)
    growth = _band_growth(band_voxels, resolution)
    return CellMask(*lattice.dilate(crossing_cells(lattice), growth, growth, padding=False))


def _band_growth(band_voxels: float, resolution: int) -> int:
    """Dilation of the sign-changing cells, in cells of a lattice of this resolution."""
    return max(min(2, math.ceil(band_voxels)), round(band_voxels * resolution / BAND_RESOLUTION))


def mean_band_half_width(band_voxels: float, resolution: int = 256) -> float:
    """Mean distance from a plane to the edge of its band, in model space.

    Args:
        band_voxels: Dilation of the band, in cells of a 512^3 lattice.
        resolution: Cells per axis of the lattice of the band.

    Returns:
        The dilation, plus half a cell for the layer of sign-changing cells.
    """
    return _band_width(_band_growth(band_voxels, resolution), resolution) + 1 / resolution


def _band_width(growth: int, resolution: int) -> float:
    """Width of a dilation by `growth` cells, in model space."""
    return growth * 2 / resolution


def _smooth_blend(general: SignedDistance, overfit: SignedDistance, width: float) -> SignedDistance:
    """Blend of mode "smooth" as a field that can be evaluated at any point."""

    def distance(points: Tensor) -> Tensor:
        smooth = general(points)
        gate = torch.exp(-((smooth / width) ** 2))
        return gate * overfit(points) + (1 - gate) * smooth

    return distance


@dataclass(frozen=True)
class _FusedBranches:
    """A lattice with the overfit branch at the masked vertices and the general branch elsewhere.

    It evaluates further vertices of lattices that were grown from `lattice`.
    """

    lattice: SparseLattice
    mask: Mask
    overfit: FieldSampler
    general: FieldSampler

    def evaluate(self, lattice: SparseLattice, mask: Mask) -> None:
        """Evaluate the masked vertices in place, each with the branch that applies there."""
        in_band = np.zeros_like(mask)
        in_band[lattice.rows_of(self.lattice)] = self.mask
        self.overfit.evaluate(lattice, mask & in_band)
        self.general.evaluate(lattice, mask & ~in_band)


def _validate_arguments(
    overfit: SignedDistance | None, resolution: int, band_voxels: float, mode: str, chunk: int, lipschitz: float
) -> None:
    if mode not in get_args(Mode):
        raise ConfigError(f"mode must be one of {', '.join(get_args(Mode))}, got '{mode}'")
    if overfit is None and mode in ("overfit", "overfit_box", "smooth"):
        raise ConfigError(f"mode '{mode}' needs the `overfit` field; pass it, or use mode='general'")
    require_resolution(resolution)
    for name, value in (("band_voxels", band_voxels), ("chunk", chunk), ("lipschitz", lipschitz)):
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} must be positive and finite, got {value}")


def require_resolution(resolution: int) -> None:
    """Check that `extract` accepts a number of cells per axis.

    Raises:
        ConfigError: `resolution` is outside 16 to 1024, or does not halve down to an integer of at most 128.
    """
    if not (16 <= resolution <= 1024 and resolution == int(resolution)):
        raise ConfigError(f"resolution must be an integer from 16 to 1024 cells per axis, got {resolution}")
    if coarsest_resolution(resolution) > _MAX_COARSE_RESOLUTION:
        step = 2 ** math.ceil(math.log2(resolution / _MAX_COARSE_RESOLUTION))
        below = resolution // step * step
        raise ConfigError(
            f"resolution {resolution} does not halve down to a coarse lattice of at most {_MAX_COARSE_RESOLUTION} "
            f"cells; the nearest that do are {below} and {below + step}"
        )


def _fuse_branches(
    lattice: SparseLattice,
    cells: Mask,
    growth: int,
    levels: list[SparseLattice],
    general: FieldSampler,
    overfit: FieldSampler,
    mode: Mode,
    lipschitz: float,
) -> _FusedBranches:
    """Evaluate the overfit branch in the band around the given cells, and add one layer of vertices around the band."""
    width = _band_width(growth, lattice.resolution)
    if mode == "smooth":
        growth *= 2
    lattice, band = lattice.dilate(cells, growth, growth + 1, padding=False)
    if mode == "overfit":
        band = band.any(axis=1, keepdims=True) & lattice.vertex_mask() & ~lattice.padding_mask()
    if mode == "smooth":
        general.evaluate(lattice, band & ~lattice.exact)
        smooth = lattice.value[band]
        gate = np.exp(-((smooth / width) ** 2))
        overfit.evaluate(lattice, band)
        lattice.value[band] = gate * lattice.value[band] + (1 - gate) * smooth
    elif mode == "fused" and growth >= _THICK_BAND_CELLS and lattice.resolution % 2 == 0:
        evaluate_coarse_to_fine(lattice, band, overfit, lipschitz)
    else:
        overfit.evaluate(lattice, band)
    banded = lattice
    lattice, neighborhood = lattice.dilate(band, 1, 1, padding=True)
    absent = neighborhood & np.isnan(lattice.value)
    lattice.value[absent & lattice.padding_mask()] = np.inf
    absent &= ~lattice.padding_mask()
    lattice.value[absent] = sign_bounds(levels, lattice.vertex_indices(absent), lattice.resolution)
    of_overfit = np.zeros_like(neighborhood)
    of_overfit[lattice.rows_of(banded)] = band
    return _FusedBranches(lattice, of_overfit, overfit, general)


def _remove_small_components(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], min_share: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Keep the connected components with at least this share of the largest component's area."""
    links = coo_array((np.ones(2 * len(faces), dtype=bool), (faces[:, :2].ravel(), faces[:, 1:].ravel())))
    links.resize(len(vertices), len(vertices))
    component = connected_components(links, directed=False)[1][faces[:, 0]]
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.bincount(component, weights=np.linalg.norm(np.cross(b - a, c - a), axis=1))
    used, kept = np.unique(faces[area[component] >= min_share * area.max()], return_inverse=True)
    return vertices[used], kept.reshape(-1, 3)
