"""A reconstruction beside the mesh its points came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.metrics.field import FieldErrors, compare_fields
from latentsdf.geometry.metrics.surface import SurfaceComparison, compare_surfaces
from latentsdf.models.derivatives import jet
from latentsdf.reconstruction.result import Reconstruction

_BOX_POINTS = 50_000
_CHUNK = 65_536


@dataclass(frozen=True)
class Accuracy:
    """In model space: `field` at uniform points of [-1, 1]^3, `surface` from samples of both meshes."""

    field: FieldErrors
    surface: SurfaceComparison
    normal_error: float
    """1 - mean n . grad u / |grad u| at the centres of the reference's triangles with their outward normals n, each
    triangle counted once (medial axis): 0 at best, 2 for a field that points inward."""

    def as_dict(self) -> dict[str, Any]:
        """Name -> figures by name, and the normal error."""
        return {"field": self.field.as_dict(), "surface": self.surface.as_dict(), "normal_error": self.normal_error}


def measure(
    reconstruction: Reconstruction, mesh: trimesh.Trimesh, truth: trimesh.Trimesh, n: int = 100_000, seed: int = 0
) -> Accuracy:
    """Compare a field and its `mesh` with a closed mesh in the same frame; n surface samples a side."""
    similarity = reconstruction.similarity
    points = np.random.default_rng(seed).uniform(-1, 1, (_BOX_POINTS, 3))
    ours, theirs = (trimesh.Trimesh(similarity.to_model(m.vertices), m.faces, process=False) for m in (mesh, truth))
    predicted, gradient = _at(reconstruction, points)
    errors = compare_fields(predicted, MeshDistance(theirs)(points), np.linalg.norm(gradient, axis=1))
    upward = _at(reconstruction, np.asarray(theirs.triangles_center))[1]
    cosine = (_unit(upward) * np.asarray(theirs.face_normals)).sum(1)
    return Accuracy(errors, compare_surfaces(ours, theirs, n, seed), float(1 - cosine.mean()))


def _at(reconstruction: Reconstruction, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances (N,) and gradients (N, 3) at points (N, 3) of the box, all in model space."""
    inside = torch.from_numpy(points.astype(np.float32)).clamp(
        -reconstruction.config.extent, reconstruction.config.extent
    )
    jets = [jet(reconstruction.network, some.to(reconstruction.device)) for some in inside.split(_CHUNK)]
    distance, gradient = (
        torch.cat([getattr(at, name).detach().cpu() for at in jets]) for name in ("distance", "gradient")
    )
    return distance.double().numpy(), gradient.double().numpy()


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
