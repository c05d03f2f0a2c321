"""Refined detail of one shape: offsets of grid features, and a correction of the general branch.

With the canonical point x_c, the feature grid G and the general branch s_g, a delta changes

    G(x_c) -> G(x_c) + dG(x_c),    s_g(x) -> s_g(x) + c(x)

dG adds features to some rows of the grid and is interpolated like the grid, in canonical space. c is interpolated from
values on a lattice in model space with R cells per axis: vertex (i, j, k) has linear index (i (R + 1) + j) (R + 1) + k
and position -1 + 2 (i, j, k) / R. A delta is valid for one code of one space.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.geometry.lattice import lattice_points
from latentsdf.models.feature_grid import corner_rows, interpolate_lattice, interpolate_rows, trilinear_weights
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.torch_lattice import containing_cells

FORMAT = 1
"""Value of `format` in the file."""
MAX_RESOLUTION = 512
"""Cells per axis of the finest lattice for corrections, which takes half a gigabyte."""


@dataclass(frozen=True, eq=False)
class Delta:
    """Offsets of U grid rows and corrections at K lattice vertices, in half precision."""

    base_fingerprint: str
    """Fingerprint of the model and the code (`fingerprint`)."""
    rows: Int[NDArray[np.int64], " U"]
    """Sorted rows of the grid."""
    features: Float[NDArray[np.float16], "U C"]
    """Features added to the rows."""
    resolution: int
    """Cells per axis R of the correction's lattice."""
    index: Int[NDArray[np.int64], " K"]
    """Sorted linear indices of lattice vertices."""
    correction: Float[NDArray[np.float16], " K"]
    """Distances added to the general branch at these vertices; 0 at all others."""

    def save(self, path: Path) -> None:
        """Write one compressed file (.npz); if writing is interrupted, an older file is unchanged."""
        with atomic_write(path) as aside, aside.open("wb") as file:
            np.savez_compressed(
                file,
                format=FORMAT,
                made_for=self.base_fingerprint,
                rows=np.diff(self.rows, prepend=0).astype(np.uint32),  # differences of sorted numbers compress well
                features=self.features,
                resolution=self.resolution,
                index=np.diff(self.index, prepend=0).astype(np.uint32),
                correction=self.correction,
            )

    def require_sane(self) -> None:
        """Raise ValueError for arrays of other shapes or values outside their ranges."""
        if self.features.ndim != 2 or self.correction.ndim != 1:
            raise ValueError(f"features {self.features.shape} and corrections {self.correction.shape}")
        if self.features.dtype != np.float16 or self.correction.dtype != np.float16:
            raise ValueError(f"features of {self.features.dtype} and corrections of {self.correction.dtype}")
        if len(self.rows) != len(self.features) or len(self.index) != len(self.correction):
            raise ValueError("arrays of different lengths")
        if not 1 <= self.resolution <= MAX_RESOLUTION:
            raise ValueError(f"resolution {self.resolution}")
        for numbers, end in ((self.rows, 1 << 40), (self.index, (self.resolution + 1) ** 3)):
            if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < end and (np.diff(numbers) > 0).all()):
                raise ValueError("numbers that are not sorted or out of range")
        if not (np.isfinite(self.features).all() and np.isfinite(self.correction).all()):
            raise ValueError("values that are not finite")


def combine_deltas(terms: Sequence[tuple[float, Delta]], base_fingerprint: str) -> Delta:
    """Return the weighted sum of deltas of one model.

    Both parts of a delta are additive: features at the same grid row, that is at the same canonical point, and
    corrections at the same point of model space are added.

    Args:
        terms: One or more pairs of a weight and a delta. Corrections on different lattices are interpolated to the
            finest one, exactly if the coarser resolutions divide it.
        base_fingerprint: Fingerprint of the model and of the code that the result refines.
    """
    deltas = [delta for _, delta in terms]
    rows, features = _weighted_sum([(w, delta.rows, delta.features) for w, delta in terms])
    finest = max(delta.resolution for delta in deltas)
    corrections = [(w, *_correction_on_lattice(delta, finest)) for w, delta in terms]
    index, correction = _weighted_sum([(w, i, values[:, None]) for w, i, values in corrections])
    return Delta(base_fingerprint, rows, features, finest, index, correction[:, 0])


def _weighted_sum(
    terms: Sequence[tuple[float, NDArray[np.int64], NDArray[np.floating]]],
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Add sparse arrays, each a weight, sorted indices (K,) and values (K, C); returns sorted indices and values."""
    index = np.unique(np.concatenate([one for _, one, _ in terms]))
    total = np.zeros((len(index), terms[0][2].shape[1]), dtype=np.float32)
    for weight, one, values in terms:
        total[np.searchsorted(index, one)] += np.float32(weight) * values.astype(np.float32)
    return index, total.astype(np.float16)


def _correction_on_lattice(delta: Delta, resolution: int) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the sorted indices and values of a delta's correction on a lattice at least as fine as its own."""
    if delta.resolution == resolution:
        return delta.index, delta.correction
    correction = Correction(delta.index, delta.correction, delta.resolution, torch.device("cpu"))
    vertices = torch.from_numpy(lattice_points(np.arange((resolution + 1) ** 3), resolution))
    values = map_chunks(correction, vertices).numpy()
    index = np.flatnonzero(values)
    return index, values[index]


def fingerprint(model: LatentSDF, code: Float[Tensor, "*N L"]) -> str:
    """Hash a code (L,) or (N, L) and the networks that decode it. Every training step changes the result."""
    digest = hashlib.sha256(code.detach().cpu().float().numpy().tobytes())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        if name != "grid.table":
            digest.update(value.cpu().float().numpy().tobytes())
    return digest.hexdigest()[:32]


class Correction:
    """Trilinear interpolation of the correction c at points in model space.

    Args:
        index: Linear indices (K,) of lattice vertices.
        values: Corrections (K,) at these vertices; other vertices have 0.
        resolution: Cells per axis of the lattice.
        device: Device of the points.
    """

    def __init__(
        self, index: NDArray[np.int64], values: NDArray[np.float16], resolution: int, device: torch.device
    ) -> None:
        self._resolution = resolution
        self._table = torch.zeros((resolution + 1) ** 3, 1, device=device)
        self._table[torch.from_numpy(index).to(device), 0] = torch.from_numpy(values.astype(np.float32)).to(device)

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        """Evaluate the correction (N,) at points (N, 3)."""
        return interpolate_lattice(self._table[None], points[None], self._resolution)[0, :, 0]


def require_base(base_fingerprint: str, model: LatentSDF, code: Float[Tensor, "*N L"]) -> None:
    """Raise CheckpointError unless detail was refined for this model and code.

    Args:
        base_fingerprint: Fingerprint of the model and code for which it was refined.
        model: The model.
        code: Code (L,), or codes by layer (N, L).
    """
    if base_fingerprint != (found := fingerprint(model, code)):
        raise CheckpointError(
            "expected the space and code that the delta was refined for (fingerprint "
            f"{base_fingerprint}), got others ({found}); use it with them, or refine again"
        )


class AppliedDelta:
    """A delta applied to its model: lookup of grid features, and correction of the general branch.

    Args:
        delta: Refined detail.
        model: Model for which the detail was refined.
        code: Code (L,), or codes by layer (N, L), for which the detail was refined.

    Raises:
        CheckpointError: The delta belongs to another space or to another code.
    """

    def __init__(self, delta: Delta, model: LatentSDF, code: Float[Tensor, "*N L"]) -> None:
        require_base(delta.base_fingerprint, model, code)
        self._model = model
        self._grid = grid = model.require_grid()
        if delta.features.shape[1] != grid.channels or (len(delta.rows) and delta.rows[-1] >= len(grid.table)):
            raise CheckpointError("the delta has rows or channels that the grid of its space lacks; refine again")
        device = code.device
        self._slot = row_slots(torch.from_numpy(delta.rows).to(device), len(grid.table))
        features = torch.from_numpy(delta.features.astype(np.float32)).to(grid.table)
        self._features = torch.cat((features, features.new_zeros(1, grid.channels)))
        self.correction = Correction(delta.index, delta.correction, delta.resolution, device)

    def distance(
        self, branch: Branch, points: Float[Tensor, "N 3"], code: Float[Tensor, "*N L"]
    ) -> Float[Tensor, " N"]:
        """Signed distances (N,) of a branch with the detail, at points of the box."""
        decoded = self._model.branch(branch, points[None], code[None], self.lookup)[0]
        corrected = branch == "general" or self._model.is_residual
        return decoded + self.correction(points) if corrected else decoded

    def lookup(self, canonical: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Look up the features G + dG (N, C) at canonical points (N, 3)."""
        lower = containing_cells(canonical, self._grid.resolution)
        rows = corner_rows(lower, self._grid.resolution)
        weights = trilinear_weights(canonical, lower, self._grid.resolution)
        return interpolate_rows(self._grid.table, rows, weights) + interpolate_rows(
            self._features, self._slot[rows], weights
        )


def row_slots(rows: Int[Tensor, " U"], count: int) -> Int[Tensor, " V"]:
    """Invert an index: return the position in `rows` of each of `count` grid rows, U for rows that are absent."""
    slot = torch.full((count,), len(rows), dtype=torch.long, device=rows.device)
    slot[rows] = torch.arange(len(rows), device=rows.device)
    return slot
