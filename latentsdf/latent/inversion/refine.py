"""Refine a fitted code: detail of one unseen shape, learned on top of a frozen space and kept as a small delta.

By its code alone the general branch can miss the surface of an unseen shape by more than the fusion band, and the
overfitting branch knows only the detail of training shapes. So the general branch gets a correction on a lattice, set
directly from the observed distances, and the grid rows that this shape's band reads are optimized on its samples. An
overfit network that adds to the general branch adds to the corrected one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.inversion import RefineConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.lattice import band_width, lattice_points
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.delta import Correction, Delta, fingerprint, slots
from latentsdf.models.feature_grid import corner_rows, interpolate_rows, trilinear_weights
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses.data import data_term
from latentsdf.training.row_adam import RowAdam
from latentsdf.utils.console import track
from latentsdf.utils.lattice import containing_cells
from latentsdf.utils.malloc import keep_freed_memory

_CLAMP = 0.1  # where DeepSDF clamps; presets may be trained so
_CHUNK = 65_536
_LEARNING_RATE = 3e-2  # of lazy Adam, for the features
_LR_FINAL = 0.01


@dataclass(frozen=True)
class Detail:
    """Distances in model space that say where the surface is, finely enough to learn detail from.

    `points` (N, 3) near the surface with signed `distance` (N,), and `lattice` (R + 1, R + 1, R + 1) signed distances
    at the vertices of the box, right in sign everywhere and in value up to 0.1.
    """

    points: NDArray[np.float32]
    distance: NDArray[np.float32]
    lattice: NDArray[np.float32]

    @property
    def resolution(self) -> int:
        """Cells per axis of the lattice."""
        return len(self.lattice) - 1


def observe_detail(mesh: trimesh.Trimesh, similarity: Similarity, config: RefineConfig) -> Detail:
    """What preprocessing would store of a mesh in the user's frame: the dense band, and the sparse lattice."""
    cleaned, _ = meshes.clean(mesh)
    model_mesh = trimesh.Trimesh(similarity.to_model(cleaned.vertices), cleaned.faces, process=False)
    solid = Solid(model_mesh, band_width(config.resolution, config.sheet_thickness))
    lattice = solid.full_lattice(config.lattice).distance.reshape((config.lattice + 1,) * 3)
    band = solid.narrow_band(config.resolution, config.band_voxels)
    points = lattice_points(band.index, config.resolution)
    return Detail(points, band.distance, lattice)


def refine(model: LatentSDF, code: Float[Tensor, "*N L"], detail: Detail, config: RefineConfig | None = None) -> Delta:
    """The delta that brings a code's shape to the observed one; model and code stay as they are.

    Raises ConfigError for settings below 1.
    """
    config = config or RefineConfig()
    keep_freed_memory()
    began = time.monotonic()
    index, correction = _correct(model, code, detail)
    lacking = correction.astype(np.float16)
    corrected = Correction(index, lacking, detail.resolution, code.device)
    rows, features = _optimize(model, code, detail, corrected, config, began)
    return Delta(
        made_for=fingerprint(model, code),
        rows=rows,
        features=features.astype(np.float16),
        resolution=detail.resolution,
        index=index,
        correction=lacking,
    )


def _correct(model: LatentSDF, code: Tensor, detail: Detail) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lattice vertices at which the general branch is off near the surface or in its sign, and by how much."""
    wanted = _show_thin_parts(detail).reshape(-1).clip(-_CLAMP, _CLAMP)
    everywhere = torch.from_numpy(lattice_points(np.arange(len(wanted)), detail.resolution))
    with torch.no_grad():
        chunks = (chunk.to(code.device) for chunk in everywhere.split(_CHUNK))
        found = torch.cat([model.branch("general", chunk[None], code[None])[0].cpu() for chunk in chunks]).numpy()
    far = (np.abs(wanted) >= _CLAMP) & (np.abs(found) >= _CLAMP) & ((wanted < 0) == (found < 0))
    index = np.flatnonzero(~far)
    return index, wanted[index] - found[index]


def _show_thin_parts(detail: Detail) -> NDArray[np.float32]:
    """The lattice, with a corner turned in each cell whose corners do not see the wall or gap that its points see.

    The fused surface exists around sign changes of the general branch only.
    """
    lattice = detail.lattice.copy()
    resolution = detail.resolution
    cell = ((detail.points + 1) * (resolution / 2)).astype(np.int64).clip(0, resolution - 1)
    linear = np.ravel_multi_index(tuple(cell.T), (resolution,) * 3)
    least = 2 / resolution / 4  # a corner on the surface would turn by nothing
    for side in (1, -1):  # walls first: a gap between them must not close them
        seen = np.zeros(resolution**3, dtype=bool)
        seen[linear[side * detail.distance < 0]] = True
        lower = np.stack(np.unravel_index(np.flatnonzero(seen), (resolution,) * 3), axis=1)
        corners = lower[:, None] + np.array(list(np.ndindex(2, 2, 2)))
        values = side * lattice[tuple(corners.T)].T
        blind = (values > 0).all(1)
        nearest = corners[blind, values[blind].argmin(1)]
        lattice[tuple(nearest.T)] = -side * np.maximum(values[blind].min(1), least)
    return lattice


def _optimize(
    model: LatentSDF, code: Tensor, detail: Detail, lacking: Correction, config: RefineConfig, began: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows (U,) that the samples read and what is added to them (U, C), by lazy Adam on the mean absolute error."""
    grid = model.require_grid()
    resolution = grid.resolution
    device = code.device
    with torch.no_grad():
        chunks = torch.from_numpy(detail.points).split(_CHUNK)
        canonical = torch.cat([model.canonical(chunk.to(device)[None], code[None])[0] for chunk in chunks])
        general = torch.cat([model.decode_general(some[None], code[None])[0] for some in canonical.split(_CHUNK)])
        general += torch.cat([lacking(chunk.to(device)) for chunk in chunks])
    distance = torch.from_numpy(detail.distance).to(device)
    rows = _rows_read(canonical, resolution)
    slot = slots(rows, len(grid.table))
    start = grid.table.detach()[rows]
    table = start.clone().requires_grad_()
    adam = RowAdam(table.detach(), _LEARNING_RATE)
    draw = torch.Generator().manual_seed(config.seed)
    with track("refining", total=1000, unit="‰") as advance:
        shown = 0.0
        for step in range(config.steps):
            share = _share(step, config, time.monotonic() - began)
            if share >= 1:
                break
            adam.lr = _LEARNING_RATE * (_LR_FINAL + (1 - _LR_FINAL) * 0.5 * (1 + np.cos(np.pi * share)))
            pick = torch.randint(len(canonical), (config.points,), generator=draw).to(device)
            points = canonical[pick]
            lower = containing_cells(points, resolution)
            weights = trilinear_weights(points, lower, resolution)
            read = slot[corner_rows(lower, resolution)]
            table.grad = None
            lookup = _gather(table, read, weights)
            predicted = model.decode_overfit(points[None], code[None], lookup, general[pick][None])[0]
            loss = data_term(predicted, distance[pick])
            loss.backward()  # type: ignore[no-untyped-call]
            gradient: Any = table.grad
            touched = torch.nonzero(gradient.any(1)).squeeze(1)
            adam.step(touched, gradient[touched])
            advance(1000 * (share - shown), f"error {float(loss.detach()):.2e}")
            shown = share
        advance(1000 * (1 - shown))
    return rows.cpu().numpy(), (table.detach() - start).cpu().numpy()


def _rows_read(canonical: Tensor, resolution: int) -> Tensor:
    read = torch.zeros((resolution + 1) ** 3, dtype=torch.bool, device=canonical.device)
    for chunk in canonical.split(_CHUNK):
        read[corner_rows(containing_cells(chunk, resolution), resolution)] = True
    return torch.nonzero(read).squeeze(1)


def _gather(table: Tensor, read: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: interpolate_rows(table, read, weights)


def _share(step: int, config: RefineConfig, elapsed: float) -> float:
    """How much of the run is over, by steps or by the clock."""
    by_steps = step / config.steps
    return max(by_steps, elapsed / config.seconds) if config.seconds > 0 else by_steps
