"""Refined detail in a few kilobytes: the signed distances T of one shape on a compressed lattice.

At the code z_0 for which it was refined, both branches decode T, interpolated between the vertices of the lattice. At
another code z, for example one that an optimizer changes,

    s(x; z) = T(x) + s_b(x; z) - s_b(x; z_0)

for each branch s_b, so the detail is a residual over the decoded shape.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.latent.inversion.delta import require_base
from latentsdf.latent.inversion.lattice_codec import EncodedLattice, decode
from latentsdf.models.feature_grid import interpolate_lattice
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.atomic_files import atomic_write

FORMAT = 2
"""Value of `format` in the file."""


@dataclass(frozen=True, eq=False)
class CompactDelta:
    """Signed distances of one shape in model space, valid for one code of one space."""

    base_fingerprint: str
    """Fingerprint of the model and the code (`delta.fingerprint`)."""
    lattice: EncodedLattice
    """The distances."""

    def save(self, path: Path) -> None:
        """Write one file (.npz); if writing is interrupted, an older file is unchanged."""
        with atomic_write(path) as aside, aside.open("wb") as file:
            np.savez(
                file,
                format=FORMAT,
                made_for=self.base_fingerprint,
                resolution=self.lattice.resolution,
                step=self.lattice.step,
                data=np.frombuffer(self.lattice.data, np.uint8),
            )


class AppliedCompactDelta:
    """A compact delta applied to its model.

    Args:
        delta: Refined detail.
        model: Model for which the detail was refined.
        code: Code (L,), or codes by layer (N, L), for which the detail was refined.

    Raises:
        CheckpointError: The delta belongs to another space or to another code.
    """

    def __init__(self, delta: CompactDelta, model: LatentSDF, code: Float[Tensor, "*N L"]) -> None:
        require_base(delta.base_fingerprint, model, code)
        self._model, self._refined_code = model, code.detach().clone()
        self._target = LatticeDistance(delta.lattice, code.device)

    def distance(
        self, branch: Branch, points: Float[Tensor, "N 3"], code: Float[Tensor, "*N L"]
    ) -> Float[Tensor, " N"]:
        """Signed distances (N,) of a branch with the detail, at points of the box."""
        target = self._target(points)
        if not code.requires_grad:  # then it is the refined code itself
            return target
        with torch.no_grad():
            decoded = self._model.branch(branch, points[None], self._refined_code[None])[0]
        return target + self._model.branch(branch, points[None], code[None])[0] - decoded


class LatticeDistance:
    """Trilinear interpolation of a compressed lattice at points in model space.

    Args:
        lattice: The lattice.
        device: Device of the points.
    """

    def __init__(self, lattice: EncodedLattice, device: torch.device) -> None:
        self._resolution = lattice.resolution
        self._table = torch.from_numpy(decode(lattice).reshape(-1, 1)).to(device)

    def __call__(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
        """Evaluate the distance (N,) at points (N, 3) of the box."""
        return interpolate_lattice(self._table[None], points[None], self._resolution)[0, :, 0]
