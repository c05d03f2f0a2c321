"""Unit normals of a signed distance at points in model space, outward."""

from collections.abc import Callable

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

_APART = 2e-3
_CHUNK = 16_384
_AT_THE_BOX = 1 - 1e-5


def of_surface(
    field: Callable[[Tensor], Tensor], mesh: trimesh.Trimesh, device: torch.device | str
) -> Float[NDArray[np.float64], "V 3"]:
    """Normals of a level set's mesh at its vertices, from the field's gradient.

    The mesh's own stand in where the field has none of the surface: on the cap that closes it at the box, and where
    its gradient points inward.
    """
    points = torch.from_numpy(mesh.vertices.astype(np.float32)).to(device)
    found = torch.cat([by_gradient(field, some) for some in points.split(_CHUNK)]).cpu().numpy().astype(np.float64)
    own = np.asarray(mesh.vertex_normals)
    capped = (np.abs(mesh.vertices) > _AT_THE_BOX).any(axis=1)
    outward = (found * own).sum(axis=1) > 0
    return np.where((outward & ~capped)[:, None], found, own)


def by_gradient(field: Callable[[Tensor], Tensor], points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """By autograd where the field can be differentiated, else by differences."""
    with torch.enable_grad():
        places = points.detach().requires_grad_()
        try:
            distance = field(places)
        except RuntimeError:  # what torch raises where a field hands such points to numpy
            return by_differences(field, points)
        if not distance.requires_grad:
            return by_differences(field, points)
        (slope,) = torch.autograd.grad(distance.sum(), places)
    return torch.nn.functional.normalize(slope, dim=1)


def by_differences(field: Callable[[Tensor], Tensor], points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """By central differences between places 4e-3 apart, which smooth over what is smaller."""
    offsets = _APART * torch.eye(3, device=points.device)
    with torch.no_grad():
        slope = torch.stack([field(points + o) - field(points - o) for o in offsets], dim=1)
    return torch.nn.functional.normalize(slope, dim=1)
