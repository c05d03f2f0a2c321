"""Analytic signed distance fields in model space, negative inside, shared by several test packages."""

import torch
from torch import Tensor


def sphere(points: Tensor, radius: float = 0.7) -> Tensor:
    """Exact distance of a sphere around the origin."""
    return points.norm(dim=1) - radius


def torus(points: Tensor) -> Tensor:
    """Exact distance of a torus in the xy plane with radii 0.55 and 0.2."""
    ring = points[:, :2].norm(dim=1) - 0.55
    return torch.stack((ring, points[:, 2]), dim=1).norm(dim=1) - 0.2


def box(points: Tensor, half: tuple[float, float, float] = (0.5, 0.25, 0.75)) -> Tensor:
    """Exact distance of an axis-aligned box with the given half extents."""
    q = points.abs() - torch.tensor(half)
    return q.clamp(min=0).norm(dim=1) + q.amax(dim=1).clamp(max=0)


def rod(points: Tensor, radius: float = 0.02) -> Tensor:
    """Exact distance of a thin capsule of length 1.6 in an oblique direction."""
    direction = torch.tensor([0.6, 0.48, 0.64])
    along = (points @ direction).clamp(-0.8, 0.8)
    return (points - along[:, None] * direction).norm(dim=1) - radius


def detailed(points: Tensor) -> Tensor:
    """The torus with a sinusoidal detail of amplitude 0.012."""
    return torus(points) + 0.012 * torch.sin(25 * points).sum(dim=1) / 3


def noise(points: Tensor) -> Tensor:
    """The torus with hashed values of +-0.05, so that every marching cubes case and every ambiguous face occurs."""
    hashed = torch.sin(points.double() @ torch.tensor([9127.1, 3511.7, 7919.3], dtype=torch.float64)) * 4375.85
    return ((hashed - hashed.floor()) - 0.5).float() * 0.1 + torus(points)
