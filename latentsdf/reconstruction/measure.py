"""A reconstruction beside the mesh its points came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh

from latentsdf.geometry.distance import MeshDistance
from latentsdf.geometry.field_metrics import FieldErrors, compare_fields
from latentsdf.geometry.metrics import Comparison, compare
from latentsdf.reconstruction.result import Reconstruction

_BOX_POINTS = 50_000


@dataclass(frozen=True)
class Accuracy:
    """In model space: `field` at uniform points of [-1, 1]^3, `surface` from samples of both meshes."""

    field: FieldErrors
    surface: Comparison

    def as_dict(self) -> dict[str, Any]:
        """Name -> figures by name."""
        return {"field": self.field.as_dict(), "surface": self.surface.as_dict()}


def measure(
    reconstruction: Reconstruction, mesh: trimesh.Trimesh, truth: trimesh.Trimesh, n: int = 100_000, seed: int = 0
) -> Accuracy:
    """Compare a field and its `mesh` with a closed mesh in the same frame; n surface samples a side."""
    similarity = reconstruction.similarity
    points = np.random.default_rng(seed).uniform(-1, 1, (_BOX_POINTS, 3))
    ours, theirs = (trimesh.Trimesh(similarity.to_model(m.vertices), m.faces, process=False) for m in (mesh, truth))
    predicted = reconstruction.distance(similarity.to_user(points)) * similarity.scale
    return Accuracy(compare_fields(predicted, MeshDistance(theirs)(points)), compare(ours, theirs, n, seed))
