"""What a refined shape keeps beside its code: features added to grid rows, and distances added to the general branch.

A delta holds for one code of one space. Its correction of the general branch lives on a lattice in model space, where
vertex (i, j, k) of R cells per axis has linear index (i (R + 1) + j) (R + 1) + k and lies at -1 + 2 (i, j, k) / R, and
is trilinear in between. Its features belong to rows of the space's grid, so they apply in canonical space.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.models.feature_grid import corner_rows, interpolate_rows, trilinear_weights
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.lattice import containing_cells

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Delta:
    """Half-precision features for some grid rows, and distances for some lattice vertices.

    `made_for` is the fingerprint of model and code; `rows` (U,) sorted rows of the grid and `features` (U, C) what is
    added to them; `resolution` cells per axis of the correction's lattice, `index` (K,) sorted linear indices of its
    vertices and `correction` (K,) what is added to the general branch there, zero at all others.
    """

    made_for: str
    rows: NDArray[np.int64]
    features: NDArray[np.float16]
    resolution: int
    index: NDArray[np.int64]
    correction: NDArray[np.float16]

    def save(self, path: Path) -> None:
        """Write one compressed file (.npz); a crash on the way leaves what was there before."""
        with atomic_write(path) as aside, aside.open("wb") as file:
            np.savez_compressed(
                file,
                format=_FORMAT,
                made_for=self.made_for,
                rows=np.diff(self.rows, prepend=0).astype(np.uint32),  # differences of neighbours compress to little
                features=self.features,
                resolution=self.resolution,
                index=np.diff(self.index, prepend=0).astype(np.uint32),
                correction=self.correction,
            )

    @staticmethod
    def load(path: Path) -> "Delta":
        """Read what `save` wrote; raises FileNotFoundError, or CheckpointError for a file that is something else."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such delta; write one with `latentsdf invert --refine`")
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                if int(file["format"]) != _FORMAT:
                    raise CheckpointError(f"{path}: delta format {file['format']}, this version reads {_FORMAT}")
                delta = Delta(
                    str(file["made_for"]),
                    np.cumsum(file["rows"], dtype=np.int64),
                    file["features"],
                    int(file["resolution"]),
                    np.cumsum(file["index"], dtype=np.int64),
                    file["correction"],
                )
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
            raise CheckpointError(f"{path}: damaged delta ({error}); refine the shape again") from error
        if len(delta.rows) != len(delta.features) or len(delta.index) != len(delta.correction):
            raise CheckpointError(f"{path}: damaged delta (arrays of different lengths); refine the shape again")
        return delta


def fingerprint(model: LatentSDF, code: Float[Tensor, "*N L"]) -> str:
    """Name of a code in a space, from the code and the networks, which every training step changes."""
    digest = hashlib.sha256(code.detach().cpu().numpy().tobytes())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        if name != "grid.table":
            digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


class Correction:
    """What the general branch lacks at points (N, 3) in model space, between the vertices where it is known (Q,)."""

    def __init__(
        self, index: NDArray[np.int64], values: NDArray[np.float16], resolution: int, device: torch.device
    ) -> None:
        self._resolution = resolution
        self._table = torch.zeros((resolution + 1) ** 3, 1, device=device)
        self._table[torch.from_numpy(index).to(device), 0] = torch.from_numpy(values.astype(np.float32)).to(device)

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        lower = containing_cells(points, self._resolution)
        weights = trilinear_weights(points, lower, self._resolution)
        return interpolate_rows(self._table, corner_rows(lower, self._resolution), weights).squeeze(1)


class Refined:
    """A delta at work on the model it was made for: the grid's lookup, and the correction of the general branch.

    Raises CheckpointError when the delta belongs to another space or another code.
    """

    def __init__(self, delta: Delta, model: LatentSDF, code: Float[Tensor, "*N L"]) -> None:
        if delta.made_for != fingerprint(model, code):
            raise CheckpointError(
                "the delta was refined for another space or another code, so it does not fit; "
                "use the space and the code it was written with, or refine again"
            )
        self._grid = grid = model.require_grid()
        device = code.device
        self._slot = slots(torch.from_numpy(delta.rows).to(device), len(grid.table))
        nothing = torch.zeros(1, grid.channels, device=device)
        self._features = torch.cat((torch.from_numpy(delta.features.astype(np.float32)).to(device), nothing))
        self.correction = Correction(delta.index, delta.correction, delta.resolution, device)

    def lookup(self, canonical: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Features of grid and delta together at canonical points."""
        lower = containing_cells(canonical, self._grid.resolution)
        rows = corner_rows(lower, self._grid.resolution)
        weights = trilinear_weights(canonical, lower, self._grid.resolution)
        return interpolate_rows(self._grid.table, rows, weights) + interpolate_rows(
            self._features, self._slot[rows], weights
        )


def slots(rows: Tensor, count: int) -> Tensor:
    """Place of each of `count` grid rows among the given distinct `rows` (U,); U for those that are not there."""
    slot = torch.full((count,), len(rows), dtype=torch.long, device=rows.device)
    slot[rows] = torch.arange(len(rows), device=rows.device)
    return slot
