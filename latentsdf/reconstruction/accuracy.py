"""Accuracy of a 3D reconstruction, relative to the mesh from which its points were sampled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.metrics.field import FieldErrors, compare_fields
from latentsdf.geometry.metrics.surface import SurfaceComparison, compare_surfaces
from latentsdf.models.derivatives import jet
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.chunks import map_chunks

_BOX_POINTS = 50_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """Errors of a reconstruction in units of model space."""

    field: FieldErrors
    """Errors of the signed distance at uniform points of [-1, 1]^3."""
    surface: SurfaceComparison
    """Distances between samples of both meshes."""
    normal_error: float
    """1 - mean n . grad u / |grad u| at the triangle centers of the ground truth, with outward normals n and equal
    weights (paper: `training.losses.medial_axis`): 0 for exact normals, 2 for inverted ones."""

    def as_dict(self) -> dict[str, Any]:
        """Return the errors as nested dictionaries of numbers."""
        return {"field": self.field.as_dict(), "surface": self.surface.as_dict(), "normal_error": self.normal_error}


def measure_accuracy(
    reconstruction: Reconstruction, mesh: trimesh.Trimesh, truth: trimesh.Trimesh, n: int = 100_000, seed: int = 0
) -> Accuracy:
    """Compare a 3D field and its surface with the ground truth.

    Args:
        reconstruction: The field.
        mesh: Its zero level set in the user's frame (`Reconstruction.mesh`).
        truth: Closed mesh in the user's frame.
        n: Number of samples of each surface.
        seed: Seed of all samples.

    Returns:
        Errors in model space.
    """
    to_model = reconstruction.similarity.to_model
    mesh, truth = (trimesh.Trimesh(to_model(m.vertices), m.faces, process=False) for m in (mesh, truth))
    points = np.random.default_rng(seed).uniform(-1, 1, (_BOX_POINTS, 3))
    distance, gradient = _distance_and_gradient(reconstruction, points)
    field_errors = compare_fields(distance, MeshDistance(truth)(points), np.linalg.norm(gradient, axis=1))
    center_gradient = _distance_and_gradient(reconstruction, np.asarray(truth.triangles_center))[1]
    cosine = (_normalize(center_gradient) * np.asarray(truth.face_normals)).sum(1)
    return Accuracy(field_errors, compare_surfaces(mesh, truth, n, seed), float(1 - cosine.mean()))


def _distance_and_gradient(
    reconstruction: Reconstruction, points: Float[Floats, "N 3"]
) -> tuple[Float[Floats, " N"], Float[Floats, "N 3"]]:
    """Distances and gradients at points of the box, all in model space."""
    extent = reconstruction.config.extent
    clamped = torch.from_numpy(points.astype(np.float32)).clamp(-extent, extent)

    def evaluate(chunk: Tensor) -> tuple[Tensor, Tensor]:
        at = jet(reconstruction.network, chunk.to(reconstruction.device))
        return at.distance.detach().cpu(), at.gradient.detach().cpu()

    distance, gradient = map_chunks(evaluate, clamped)
    return distance.double().numpy(), gradient.double().numpy()


def _normalize(vectors: Float[Floats, "N 3"]) -> Float[Floats, "N 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
