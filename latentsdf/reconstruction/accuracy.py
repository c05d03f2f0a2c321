"""Accuracy of a 3D reconstruction, relative to the mesh from which its points were sampled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.extraction.field import distance_and_gradient
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.metrics.field import FieldErrors, compare_fields, normal_error
from latentsdf.geometry.metrics.surface import SurfaceComparison, compare_surfaces
from latentsdf.reconstruction.result import Reconstruction

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
    """`geometry.metrics.field.normal_error` at the triangle centers of the ground truth."""

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
    error = normal_error(center_gradient, np.asarray(truth.face_normals))
    return Accuracy(field_errors, compare_surfaces(mesh, truth, n, seed), error)


def _distance_and_gradient(
    reconstruction: Reconstruction, points: Float[Floats, "N 3"]
) -> tuple[Float[Floats, " N"], Float[Floats, "N 3"]]:
    """Distances and gradients at points of the box, all in model space."""
    extent = reconstruction.config.extent
    network: Callable[[Tensor], Tensor] = reconstruction.network
    return distance_and_gradient(network, points.clip(-extent, extent), reconstruction.device)
