"""Signed distances on a dense lattice, as a volume file for other programs.

A .npz file holds

| array | shape | |
|---|---|---|
| `distance` | (X, Y, Z) | float32, negative inside, in units of the shape's frame |
| `origin` | (3,) | position of vertex (0, 0, 0) in the shape's frame |
| `spacing` | () | distance between neighboring vertices |
| `frame` | () | the text `shape` |

Vertex (i, j, k) is at `origin + spacing * (i, j, k)`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.extraction.field import SignedDistance
from latentsdf.geometry.similarity import Similarity
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import ConfigError

SUFFIXES = (".npz",)
"""Suffixes of volume files."""

_MAX_RESOLUTION = 1024


@dataclass(frozen=True)
class Volume:
    """Signed distances on a lattice that is aligned with the axes of the shape's frame."""

    distance: Float[NDArray[np.float32], "X Y Z"]
    """Signed distances, negative inside, in units of the shape's frame."""
    origin: Float[NDArray[np.float64], "3"]
    """Position of vertex (0, 0, 0) in the shape's frame."""
    spacing: float
    """Distance between neighboring vertices."""

    def save(self, path: Path) -> None:
        """Write a .npz file; if writing is interrupted, an older file is unchanged."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, distance=self.distance, origin=self.origin, spacing=self.spacing, frame=np.array("shape")
            )


def sample_volume(
    field: SignedDistance, similarity: Similarity, resolution: int = 128, device: torch.device | str = "cpu"
) -> Volume:
    """Evaluate a field on a lattice in the shape's frame that covers the box of model space.

    Args:
        field: Signed distance in model space, (N, 3) to (N,), which is also defined outside the box.
        similarity: Transform from the shape's frame to model space. If it rotates, the lattice covers the rotated box
            and therefore has more vertices.
        resolution: Cells per side of the box, 2 to 1024.
        device: Device on which the field is evaluated.

    Returns:
        The volume.

    Raises:
        ConfigError: The resolution is out of range.
    """
    if not 2 <= resolution <= _MAX_RESOLUTION:
        raise ConfigError(f"a volume needs a resolution of 2 to {_MAX_RESOLUTION} cells, got {resolution}")
    corners = similarity.to_user(np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float))
    low, high = corners.min(0), corners.max(0)
    spacing = 2 / resolution / similarity.scale
    counts = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    axes = [low[axis] + spacing * np.arange(counts[axis]) for axis in range(3)]
    distance = np.empty(tuple(counts), dtype=np.float32)
    for i, x in enumerate(axes[0]):
        plane = np.stack(np.meshgrid([x], axes[1], axes[2], indexing="ij"), axis=-1).reshape(-1, 3)
        points = torch.from_numpy(similarity.to_model(plane).astype(np.float32)).to(device)
        with torch.no_grad():
            values = field(points)
        distance[i] = values.cpu().numpy().reshape(distance.shape[1:]) / similarity.scale
    return Volume(distance, low, spacing)
