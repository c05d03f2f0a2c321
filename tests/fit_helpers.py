"""Settings, points and models of the tests of inversion."""

from dataclasses import replace

import numpy as np
import torch
from helpers import SMALL_MODEL

from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.model import BranchConfig, Conditioning, Recipe
from latentsdf.models.latent_sdf import LatentSDF

FAST = InvertConfig(steps=20, starts=2, points=1024)
FIT = InvertConfig(steps=60, starts=2, points=1024)
REFINEMENT = RefineConfig(steps=150, points=4096, resolution=128, band_voxels=4, lattice=32, sheet_thickness=1)


def small_latent_model(
    conditioning: Conditioning, warp: int = 16, recipe: Recipe = "latentsdf", **changes: object
) -> LatentSDF:
    """A small model with random parameters, general and overfit branches of the same kind, and a warp."""
    torch.manual_seed(0)
    branch = BranchConfig(40, 3, skip=2, activation="softplus", conditioning=conditioning, frequencies=2, recipe=recipe)
    config = replace(SMALL_MODEL, general=branch, overfit=branch, warp=replace(branch, width=warp, skip=0))
    model = LatentSDF(replace(config, **changes)).requires_grad_(False)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def sphere_points(count: int, radius: float = 0.6) -> np.ndarray:
    """Random points (N, 3) on a sphere."""
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
