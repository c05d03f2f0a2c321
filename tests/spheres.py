"""Random points on spheres."""

import torch
from torch import nn


def on_spheres(dim: int, radii: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """400 random points on each of several spheres, and their radii."""
    directions = nn.functional.normalize(torch.randn(400, dim), dim=1)
    points = torch.cat([r * directions for r in radii])
    return points, torch.tensor(radii).repeat_interleave(400)
