"""Signed distance -> mesh: coarse to fine search for the zero set, fusion in an exact band, marching cubes.

Cost and memory follow the surface. Cells are kept while |s| at their centre is at most `lipschitz` times their half
diagonal; a field with |grad s| <= lipschitz loses nothing, thin parts included.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.cells import Keys, Lattice, march
from latentsdf.errors import ConfigError, EmptyLevelSetError, LatentSDFError

SignedDistance = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 in model space -> signed distance (N,), negative inside."""

Mode = Literal["general", "overfit", "fused", "smooth"]

BAND_RESOLUTION = 512
"""`band_voxels` counts cells of this lattice; the band keeps its width in model space at other resolutions."""

_COARSEST = 64
_CHUNK = 16_384
_FEWEST_BAND_CELLS = 2


def extract(
    general: SignedDistance,
    overfit: SignedDistance | None = None,
    *,
    resolution: int = 256,
    band_voxels: float = 3.0,
    mode: Mode = "fused",
    lipschitz: float = 1.5,
    largest_component: bool = False,
    device: str = "cpu",
) -> trimesh.Trimesh:
    """The zero level set as a mesh in model space, outward oriented, closed unless it leaves the box.

    `general`: the general branch alone. `fused`: the overfit branch on the band, which is the cells that the general
    branch's zero set passes through dilated by n cells (METHODS 1.5), the general branch outside. `overfit`: the
    overfit branch on the band, nothing outside. `smooth`: both blended by exp(-(s_g / band width)^2).

    Raises EmptyLevelSetError with the value range when nothing crosses zero, ConfigError for a resolution that does
    not halve down to a coarse lattice.
    """
    evaluate = _Evaluator(device)
    lattice, cells = _zero_cells(general, resolution, lipschitz, evaluate)
    vertices = lattice.vertices(cells)
    values = evaluate(general, lattice.positions(vertices))
    crossing = lattice.sign_changes(cells, vertices, values)
    if len(crossing) == 0:
        raise _empty(evaluate)
    if mode != "general" and overfit is not None:
        cells, vertices, values = _fuse(
            lattice, crossing, (vertices, values), general, overfit, mode, band_voxels, evaluate
        )
        if (values < 0).all() or (values >= 0).all():
            raise _empty(evaluate)
    surface = march(lattice, cells, vertices, values)
    mesh = trimesh.Trimesh(surface.vertices * (2 / resolution) - 1, surface.faces, process=False)
    return _largest(mesh) if largest_component else mesh


class _Evaluator:
    """Evaluates fields on numpy points in chunks, and remembers the range of values seen."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.range = (np.inf, -np.inf)

    def __call__(self, field: SignedDistance, points: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [
            field(torch.from_numpy(points[start : start + _CHUNK]).to(self.device)).cpu().numpy()
            for start in range(0, len(points), _CHUNK)
        ]
        values = np.concatenate(parts).astype(np.float32) if parts else np.empty(0, dtype=np.float32)
        if not np.isfinite(values).all():
            raise LatentSDFError(
                f"the field is not finite at {int((~np.isfinite(values)).sum())} of {len(values)} points, so it has no "
                "surface; check the code or the checkpoint"
            )
        if len(values):
            self.range = (min(self.range[0], float(values.min())), max(self.range[1], float(values.max())))
        return values


def _empty(evaluate: _Evaluator) -> EmptyLevelSetError:
    low, high = evaluate.range
    return EmptyLevelSetError(
        f"no surface: the field's values run from {low:.4g} to {high:.4g} and never cross zero in [-1, 1]^3; "
        "the code may lie far from the training codes, or training was too short"
    )


def _zero_cells(field: SignedDistance, resolution: int, lipschitz: float, evaluate: _Evaluator) -> tuple[Lattice, Keys]:
    """Cells at full resolution that can hold the zero set."""
    coarse = resolution
    while coarse > _COARSEST and coarse % 2 == 0:
        coarse //= 2
    if not 2 <= coarse <= 2 * _COARSEST:
        nearest = max(1, round(resolution / 64)) * 64
        raise ConfigError(f"resolution {resolution} does not halve down to a coarse lattice; use {nearest}")
    lattice = Lattice(coarse)
    cells = lattice.all_cells()
    while True:
        values = evaluate(field, lattice.positions(cells, offset=0.5))
        cells = cells[np.abs(values) <= lipschitz * np.sqrt(3) / lattice.resolution]
        if len(cells) == 0:
            raise _empty(evaluate)
        if lattice.resolution == resolution:
            return lattice, np.sort(cells)
        lattice, cells = lattice.children(cells)


def _fuse(
    lattice: Lattice,
    crossing: Keys,
    known: tuple[Keys, NDArray[np.float32]],
    general: SignedDistance,
    overfit: SignedDistance,
    mode: Mode,
    band_voxels: float,
    evaluate: _Evaluator,
) -> tuple[Keys, Keys, NDArray[np.float32]]:
    """Cells, their vertices and the fused values around the general branch's zero set.

    One more layer of cells than the band is kept: its outer vertices carry the general branch, so that a jump between
    the branches shows up as it does on the dense lattice.
    """
    width = max(_FEWEST_BAND_CELLS, round(band_voxels * lattice.resolution / BAND_RESOLUTION))
    band = lattice.vertices(lattice.dilate(crossing, width))
    if mode == "overfit":
        return lattice.dilate(crossing, width), band, evaluate(overfit, lattice.positions(band))
    cells = lattice.dilate(crossing, width + 1)
    vertices = lattice.vertices(cells)
    in_band = np.zeros(len(vertices), dtype=bool)
    in_band[np.searchsorted(vertices, band)] = True
    values = np.empty(len(vertices), dtype=np.float32)
    values[in_band] = evaluate(overfit, lattice.positions(band))
    wanted = ~in_band if mode == "fused" else np.ones(len(vertices), dtype=bool)
    coarse = _look_up_or_evaluate(vertices[wanted], known, general, lattice, evaluate)
    if mode == "fused":
        values[wanted] = coarse
        return cells, vertices, values
    gate = np.exp(-np.square(coarse * lattice.resolution / (2 * width)))
    values[~in_band] = coarse[~in_band]
    return cells, vertices, (gate * values + (1 - gate) * coarse).astype(np.float32)


def _look_up_or_evaluate(
    wanted: Keys,
    known: tuple[Keys, NDArray[np.float32]],
    field: SignedDistance,
    lattice: Lattice,
    evaluate: _Evaluator,
) -> NDArray[np.float32]:
    vertices, values = known
    place = np.searchsorted(vertices, wanted).clip(max=len(vertices) - 1)
    found = vertices[place] == wanted
    result = values[place]
    result[~found] = evaluate(field, lattice.positions(wanted[~found]))
    return result


def _largest(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    areas = np.bincount(labels, weights=mesh.area_faces)
    kept = trimesh.Trimesh(mesh.vertices, mesh.faces[labels == areas.argmax()], process=False)
    kept.remove_unreferenced_vertices()
    return kept
