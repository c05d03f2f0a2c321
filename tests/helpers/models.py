"""Small models with random parameters, and points on spheres as torch tensors."""

from dataclasses import replace

import torch
from torch import nn

from helpers.settings import SMALL_MODEL
from latentsdf.config.model import BranchConfig, Conditioning, Recipe
from latentsdf.models.latent_sdf import LatentSDF


def small_latent_model(
    conditioning: Conditioning, warp: int = 16, recipe: Recipe = "latentsdf", **changes: object
) -> LatentSDF:
    """Create a small model with random parameters, two branches of the same kind, and a warp."""
    torch.manual_seed(0)
    branch = BranchConfig(40, 3, skip=2, activation="softplus", conditioning=conditioning, frequencies=2, recipe=recipe)
    config = replace(SMALL_MODEL, general=branch, overfit=branch, warp=replace(branch, width=warp, skip=0))
    model = LatentSDF(replace(config, **changes)).requires_grad_(False)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def on_spheres(dim: int, radii: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """400 random points on each of several spheres, and their radii."""
    directions = nn.functional.normalize(torch.randn(400, dim), dim=1)
    points = torch.cat([r * directions for r in radii])
    return points, torch.tensor(radii).repeat_interleave(400)
