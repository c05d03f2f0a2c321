"""Refinement of a fit: detail of one unseen shape that its code does not represent.

Decoded from the code alone, the general branch s_g can miss the surface of an unseen shape by more than the fusion
band, and the feature grid holds the detail of training shapes only. There are two remedies.

**Within a budget** (`CompactDelta`): the observed distances on a lattice replace the decoded ones. They are compressed
with the smallest quantization step, on the finest lattice, that the budget in bytes allows.

**Without a budget** (`Delta`), a megabyte or more:

1. correct s_g on a lattice, by the difference between the observed distances and s_g at its vertices, and
2. optimize the grid rows that the samples of the shape's narrow band read, by lazy Adam on the mean absolute error
   of s_o. An overfit branch that is a residual of s_g adds to the corrected s_g.

The networks and the feature grid of the space are not changed.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.inversion import RefineConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.lattice import band_width, lattice_points
from latentsdf.geometry.mesh_sdf.solid import Solid
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.compact_delta import CompactDelta
from latentsdf.latent.inversion.delta import Correction, Delta, fingerprint, row_slots
from latentsdf.latent.inversion.lattice_codec import EncodedLattice, encode
from latentsdf.models.feature_grid import corner_rows, interpolate_rows, trilinear_weights
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses.data import data_term
from latentsdf.training.lr_schedule import cosine
from latentsdf.training.row_adam import RowAdam
from latentsdf.training.training_loop import run_training_loop
from latentsdf.utils.chunks import map_chunks, split_chunks
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.malloc import keep_freed_memory
from latentsdf.utils.torch_lattice import containing_cells

_CLAMP = 0.1  # truncation distance of DeepSDF, with which presets may be trained
_LEARNING_RATE = 3e-2
_FINAL_LEARNING_RATE = 0.01  # share of the initial one
_FILE_OVERHEAD = 1500  # bytes of a saved delta besides the compressed distances
_COARSEST = 32  # smallest number of cells per axis of a compressed lattice
_STEPS_PER_CELL = (64, 32, 16, 11, 8, 6, 4, 3, 2)  # cell size of the finest level over the quantization step


@dataclass(frozen=True)
class Detail:
    """Observed signed distances of a shape in model space, dense enough for learning its detail."""

    points: Float[NDArray[np.float32], "N 3"]
    """Points near the surface."""
    distance: Float[NDArray[np.float32], " N"]
    """Signed distances at the points."""
    lattice: Float[NDArray[np.float32], "V V V"]
    """Signed distances at the (R + 1)^3 vertices of a lattice over the box. The sign is correct everywhere, the value
    up to a distance of 0.1."""

    @property
    def resolution(self) -> int:
        """Cells per axis R of the lattice."""
        return len(self.lattice) - 1


def observe_detail(mesh: trimesh.Trimesh, similarity: Similarity, config: RefineConfig) -> Detail:
    """Sample a mesh as preprocessing does: the narrow band of the dense lattice, and the sparse lattice.

    Args:
        mesh: Complete mesh in the user's frame.
        similarity: Similarity transform of the fit, between the user's frame and model space.
        config: Resolutions of the lattices and width of the band.

    Raises:
        MeshError: The mesh cannot be cleaned or has no inside.
    """
    cleaned, _ = meshes.clean(mesh)
    model_mesh = trimesh.Trimesh(similarity.to_model(cleaned.vertices), cleaned.faces, process=False)
    solid = Solid(model_mesh, band_width(config.resolution, config.sheet_thickness))
    cells = config.resolution // 2 if config.budget_kb > 0 else config.lattice
    lattice = solid.full_lattice(cells).distance.reshape((cells + 1,) * 3)
    band = solid.narrow_band(config.resolution, config.band_voxels)
    points = lattice_points(band.index, config.resolution)
    return Detail(points, band.distance, lattice)


def refine(
    model: LatentSDF, code: Float[Tensor, "*N L"], detail: Detail, config: RefineConfig | None = None
) -> Delta | CompactDelta:
    """Compress or learn the delta between the decoded and the observed shape. Model and code are not changed.

    Args:
        model: The model, with a feature grid if the budget in bytes is 0.
        code: Fitted code (L,), or codes by layer (N, L).
        detail: Observed distances.
        config: Budgets; defaults to `RefineConfig()`.

    Returns:
        The delta, valid for this model and code: compact, unless the budget in bytes is 0.

    Raises:
        ConfigError: The budget in bytes is too small for this shape.
    """
    config = config or RefineConfig()
    if config.budget_kb > 0:
        return CompactDelta(fingerprint(model, code), _compress(detail, config.budget_kb))
    return _learn(model, code, detail, config)


def _compress(detail: Detail, budget_kb: float) -> EncodedLattice:
    """Encode the lattice as accurately as the budget allows: halve the resolution only where no step fits."""
    budget = int(budget_kb * 1000) - _FILE_OVERHEAD
    lattice = _resolve_thin_parts(detail)
    while True:
        cells = len(lattice) - 1
        for steps in _STEPS_PER_CELL:
            encoded = encode(lattice, 2 / cells / steps)
            if len(encoded.data) <= budget:
                return encoded
        if cells % 4 or cells < 2 * _COARSEST:
            raise ConfigError(
                f"budget_kb: {budget_kb:g} kB are too small for the detail of this shape; expected at least "
                f"{(len(encoded.data) + _FILE_OVERHEAD) / 1000:.1f}, or 0 for no limit"
            )
        lattice = lattice[::2, ::2, ::2]


def _learn(model: LatentSDF, code: Float[Tensor, "*N L"], detail: Detail, config: RefineConfig) -> Delta:
    """Correct the general branch and optimize the grid rows that the shape reads."""
    keep_freed_memory()
    started = time.monotonic()
    index, correction = _correct_general_branch(model, code, detail)
    values = correction.astype(np.float16)
    optimizer = _FeatureOptimizer(
        model, code, detail, Correction(index, values, detail.resolution, code.device), config, started
    )
    run_training_loop(
        optimizer,
        "refining",
        should_continue=lambda: True,
        on_step=lambda terms, _: f"error {terms['overfit']:.2e}",
    )
    rows, features = optimizer.result()
    return Delta(
        base_fingerprint=fingerprint(model, code),
        rows=rows,
        features=features.astype(np.float16),
        resolution=detail.resolution,
        index=index,
        correction=values,
    )


def _correct_general_branch(
    model: LatentSDF, code: Tensor, detail: Detail
) -> tuple[Int[NDArray[np.int64], " K"], Float[NDArray[np.float32], " K"]]:
    """Return lattice vertices near either surface or with a wrong sign, and observed minus decoded distances there."""
    observed = _resolve_thin_parts(detail).reshape(-1).clip(-_CLAMP, _CLAMP)
    vertices = torch.from_numpy(lattice_points(np.arange(len(observed)), detail.resolution))

    def decode(points: Tensor) -> Tensor:
        return model.branch("general", points.to(code.device)[None], code[None])[0].cpu()

    with torch.no_grad():
        decoded = map_chunks(decode, vertices).numpy()
    far = (np.abs(observed) >= _CLAMP) & (np.abs(decoded) >= _CLAMP) & ((observed < 0) == (decoded < 0))
    index = np.flatnonzero(~far)
    return index, observed[index] - decoded[index]


def _resolve_thin_parts(detail: Detail) -> Float[NDArray[np.float32], "V V V"]:
    """Return the lattice with a sign change in every cell that a thin wall or gap crosses.

    The fused surface is extracted only around sign changes of the general branch. In each cell whose corners agree in
    sign while one of its samples has the other sign, the corner nearest to the surface is negated.
    """
    lattice = detail.lattice.copy()
    resolution = detail.resolution
    cell = ((detail.points + 1) * (resolution / 2)).astype(np.int64).clip(0, resolution - 1)
    linear = np.ravel_multi_index(tuple(cell.T), (resolution,) * 3)
    min_magnitude = 2 / resolution / 4  # negating a distance of 0 would change nothing
    for side in (1, -1):  # walls first, so that gaps between walls stay open
        sampled = np.zeros(resolution**3, dtype=bool)
        sampled[linear[side * detail.distance < 0]] = True
        lower = np.stack(np.unravel_index(np.flatnonzero(sampled), (resolution,) * 3), axis=1)
        corners = lower[:, None] + np.array(list(np.ndindex(2, 2, 2)))
        values = side * lattice[tuple(corners.T)].T
        unresolved = (values > 0).all(1)
        nearest = corners[unresolved, values[unresolved].argmin(1)]
        lattice[tuple(nearest.T)] = -side * np.maximum(values[unresolved].min(1), min_magnitude)
    return lattice


class _FeatureOptimizer:
    """Lazy Adam on the grid rows that the samples read; implements `training_loop.Trainable`."""

    def __init__(
        self,
        model: LatentSDF,
        code: Float[Tensor, "*N L"],
        detail: Detail,
        correction: Correction,
        config: RefineConfig,
        started: float,
    ) -> None:
        self._model, self._code, self._config, self._started = model, code, config, started
        grid = model.require_grid()
        self._resolution = grid.resolution
        device = code.device
        with torch.no_grad():
            points = torch.from_numpy(detail.points)
            self._canonical = map_chunks(lambda some: model.canonical(some.to(device)[None], code[None])[0], points)
            self._general = map_chunks(lambda some: model.decode_general(some[None], code[None])[0], self._canonical)
            self._general += map_chunks(lambda some: correction(some.to(device)), points)
        self._distance = torch.from_numpy(detail.distance).to(device)
        self._rows = _rows_read(self._canonical, self._resolution)
        self._slot = row_slots(self._rows, len(grid.table))
        self._initial = grid.table.detach()[self._rows]
        self._table = self._initial.clone().requires_grad_()
        self._adam = RowAdam(self._table.detach(), _LEARNING_RATE)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._step = 0
        self.seconds = 0.0

    def progress(self) -> float:
        """Return the share of the budget spent, in steps or in wall-clock time, which includes the correction."""
        by_steps = self._step / self._config.steps
        budget = self._config.seconds
        return max(by_steps, (time.monotonic() - self._started) / budget) if budget > 0 else by_steps

    def train_step(self) -> dict[str, float]:
        """Take one step on random samples; returns the mean absolute error of the overfit branch."""
        self._adam.lr = _LEARNING_RATE * cosine(self.progress(), _FINAL_LEARNING_RATE)
        device = self._canonical.device
        pick = torch.randint(len(self._canonical), (self._config.points,), generator=self._generator).to(device)
        points = self._canonical[pick]
        lower = containing_cells(points, self._resolution)
        weights = trilinear_weights(points, lower, self._resolution)
        slots = self._slot[corner_rows(lower, self._resolution)]
        predicted = self._model.decode_overfit(
            points[None],
            self._code[None],
            lambda _: interpolate_rows(self._table, slots, weights),
            self._general[pick][None],
        )[0]
        loss = data_term(predicted, self._distance[pick])
        (gradient,) = torch.autograd.grad(loss, self._table)  # leaves the gradients of the model alone
        touched = torch.nonzero(gradient.any(1)).squeeze(1)
        self._adam.step(touched, gradient[touched])
        self._step += 1
        return {"overfit": float(loss.detach())}

    def result(self) -> tuple[Int[NDArray[np.int64], " U"], Float[NDArray[np.float32], "U C"]]:
        """Return the sorted grid rows (U,) and the features (U, C) added to them."""
        return self._rows.cpu().numpy(), (self._table.detach() - self._initial).cpu().numpy()


def _rows_read(canonical: Float[Tensor, "N 3"], resolution: int) -> Int[Tensor, " U"]:
    """Return the sorted grid rows that trilinear lookups at canonical points read."""
    read = torch.zeros((resolution + 1) ** 3, dtype=torch.bool, device=canonical.device)
    for chunk in split_chunks(canonical):
        read[corner_rows(containing_cells(chunk, resolution), resolution)] = True
    return torch.nonzero(read).squeeze(1)
