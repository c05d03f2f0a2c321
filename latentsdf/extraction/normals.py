"""Outward unit normals n = grad s / |grad s| of a signed distance field s at points in model space."""

from functools import partial

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.extraction.field import SignedDistance
from latentsdf.utils.chunks import map_chunks

_STEP = 2e-3  # offset of central differences, in model space; smaller details are smoothed over
_CHUNK = 16_384
_BOX_SIDE = 1 - 1e-5  # vertices with a larger coordinate belong to the cap on the side of the box


def surface_normals(
    field: SignedDistance, mesh: trimesh.Trimesh, device: torch.device | str
) -> Float[NDArray[np.float64], "V 3"]:
    """Normals of the mesh of a level set, from the gradient of the field at its vertices.

    The vertex normals of the mesh are used on the cap at the box, which is not part of the level set, and where the
    gradient points inward.

    Args:
        field: Field that the mesh was extracted from.
        mesh: Mesh with V vertices in model space.
        device: Device on which the field is evaluated.

    Returns:
        Unit normals (V, 3).
    """
    points = torch.from_numpy(mesh.vertices.astype(np.float32)).to(device)
    normals = map_chunks(partial(gradient_normals, field), points, _CHUNK)
    of_field = normals.cpu().numpy().astype(np.float64)
    of_mesh = np.asarray(mesh.vertex_normals)
    on_cap = (np.abs(mesh.vertices) > _BOX_SIDE).any(axis=1)
    outward = (of_field * of_mesh).sum(axis=1) > 0
    return np.where((outward & ~on_cap)[:, None], of_field, of_mesh)


def gradient_normals(field: SignedDistance, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Normals by automatic differentiation; by central differences for a field that is not differentiable."""
    with torch.enable_grad():
        tracked = points.detach().requires_grad_()
        try:
            distance = field(tracked)
        except RuntimeError:  # raised by torch where a field converts points that require a gradient to numpy
            return finite_difference_normals(field, points)
        if not distance.requires_grad:
            return finite_difference_normals(field, points)
        (gradient,) = torch.autograd.grad(distance.sum(), tracked)
    return torch.nn.functional.normalize(gradient, dim=1)


def finite_difference_normals(field: SignedDistance, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Normals by central differences with offset 2e-3 along each axis."""
    offsets = _STEP * torch.eye(3, device=points.device)
    with torch.no_grad():
        gradient = torch.stack([field(points + o) - field(points - o) for o in offsets], dim=1)
    return torch.nn.functional.normalize(gradient, dim=1)
