"""How far rounding moves the surfaces of a space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.geometry.mesh_sdf.mesh_distance import bvh_query
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import EmptyLevelSetError

_RESOLUTION = 128
_POINTS = 10_000


@dataclass(frozen=True)
class Rounding:
    """Change of some shapes by rounding, in model space, where a shape has about the size 2.

    Attributes:
        shapes: Number of shapes that were compared.
        distance_mean: Mean change of the overfit branch at points of the band.
        distance_max: Largest change there.
        vertex_mean: Mean distance of extracted vertices to the surface before rounding.
        vertex_max: Largest distance of a vertex.
    """

    shapes: int
    distance_mean: float
    distance_max: float
    vertex_mean: float
    vertex_max: float

    def __str__(self) -> str:
        return (
            f"rounding changes distances in the band by {self.distance_mean:.1e} (at most {self.distance_max:.1e}) and "
            f"moves extracted vertices by {self.vertex_mean:.1e} (at most {self.vertex_max:.1e}), in model space, at "
            f"{self.shapes} shapes"
        )


def measure_rounding(
    before: tuple[LatentSDF, Sequence[Float[Tensor, " L"]]],
    after: tuple[LatentSDF, Sequence[Float[Tensor, " L"]]],
    band_voxels: float,
) -> Rounding | None:
    """Compare shapes of two models.

    Band points are vertices of the surface before rounding, extracted at a resolution of 128 in mode `fused`, moved by
    up to the half width of the band in each coordinate. Vertices are those after rounding, extracted likewise.

    Args:
        before: Model and codes before rounding.
        after: Model and codes after rounding.
        band_voxels: Half width of the band, in cells of a 512^3 lattice.

    Returns:
        The changes; None if none of the shapes has a surface.
    """
    width = 2 * band_voxels / 512
    rng = np.random.default_rng(0)
    distances: list[NDArray[np.float32]] = []
    vertices: list[NDArray[np.float64]] = []
    for old_code, new_code in zip(before[1], after[1], strict=True):
        old = DecodedShape(before[0], old_code, band_voxels=band_voxels)
        new = DecodedShape(after[0], new_code, band_voxels=band_voxels)
        try:
            surface, moved = old.surface(_RESOLUTION), new.surface(_RESOLUTION)
        except EmptyLevelSetError:
            continue
        chosen = np.asarray(surface.vertices)[rng.integers(len(surface.vertices), size=_POINTS)]
        moved_by = rng.uniform(-width, width, chosen.shape)
        points = torch.as_tensor(np.clip(chosen + moved_by, -1, 1), dtype=torch.float32, device=old_code.device)
        difference = new.field("overfit")(points) - old.field("overfit")(points)
        distances.append(difference.abs().numpy(force=True))
        vertices.append(bvh_query(surface)(np.asarray(moved.vertices, dtype=np.float64))[0])
    if not distances:
        return None
    change, moves = np.concatenate(distances), np.concatenate(vertices)
    return Rounding(len(distances), *(float(x) for x in (change.mean(), change.max(), moves.mean(), moves.max())))
