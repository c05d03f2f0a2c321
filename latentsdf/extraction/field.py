"""Signed distance fields as callables, and their validated evaluation on lattice vertices.

Every consumer of a field (extraction, rendering, metrics) takes any callable from points to signed distances: an
analytic shape, a mesh distance, one branch of a decoder, or a combination of fields.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.extraction.sparse_lattice import Ints, Mask, SparseLattice
from latentsdf.utils.errors import EmptyLevelSetError, LatentSDFError
from latentsdf.utils.lattice import vertex_positions

SignedDistance = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 in model space to signed distances (N,), negative inside."""


class FieldSampler:
    """Evaluates a field on lattice vertices in chunks, validates its output and records the range of its values.

    Args:
        name: Name of the field in error messages.
        field: The field to evaluate.
        level: Level that is subtracted from every value, so that the level set becomes the zero set.
        chunk: Points per evaluation.
        device: Device on which the field is evaluated.
    """

    def __init__(self, name: str, field: SignedDistance, level: float, chunk: int, device: torch.device | str) -> None:
        self.name, self.field, self.level, self.chunk, self.device = name, field, level, chunk, device
        self.low, self.high = math.inf, -math.inf

    def __call__(self, index: Ints, resolution: int) -> NDArray[np.float32]:
        """Field values minus the level, (N,), at lattice indices (N, 3).

        Raises:
            ValueError: The field returned the wrong shape.
            LatentSDFError: The field returned a value that is not finite.
        """
        axis = vertex_positions(torch.arange(resolution + 1), resolution).to(self.device)
        values = np.empty(len(index), dtype=np.float32)
        for start in range(0, len(index), self.chunk):
            points = axis[torch.from_numpy(index[start : start + self.chunk]).to(self.device)]
            with torch.no_grad():
                distance = self.field(points)
            values[start : start + self.chunk] = self._validated(distance, points)
        return values - np.float32(self.level)

    def _validated(self, distance: Tensor, points: Tensor) -> NDArray[np.float32]:
        if distance.shape != points.shape[:1]:
            raise ValueError(
                f"the {self.name} field must return one distance per point, shape ({len(points)},), "
                f"got shape {tuple(distance.shape)}."
            )
        invalid = ~torch.isfinite(distance)
        if invalid.any():
            first = ", ".join(f"{x:.4f}" for x in points[invalid][0].tolist())
            raise LatentSDFError(
                f"the {self.name} field is not finite at {int(invalid.sum())} of {len(points)} points, "
                f"the first at ({first}). Check the code and the checkpoint for values that are not finite."
            )
        self.low, self.high = min(self.low, float(distance.min())), max(self.high, float(distance.max()))
        return distance.detach().to("cpu", torch.float32).numpy()

    def evaluate(self, lattice: SparseLattice, mask: Mask) -> None:
        """Evaluate the field at the masked vertices in place; vertices of the padding layer get +inf."""
        padding = lattice.padding_mask() & mask
        lattice.value[padding] = np.inf
        inside = mask & ~padding
        lattice.value[inside] = self(lattice.vertex_indices(inside), lattice.resolution)
        lattice.exact[inside | padding] = True

    def empty_level_set_error(self) -> EmptyLevelSetError:
        """Create the error for a field that does not cross the level at any evaluated vertex."""
        side = "outside" if self.low >= self.level else "inside" if self.high < self.level else "on either side"
        return EmptyLevelSetError(
            f"no surface: the {self.name} field takes values from {self.low:.4g} to {self.high:.4g} at the evaluated "
            f"points, {side} of level {self.level:g}, and no lattice cell in [-1, 1]^3 has both signs. Check that the "
            "shape lies in model space and that negative means inside, train longer, or pass another `level`."
        )
