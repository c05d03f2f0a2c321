"""Properties of the networks that reconstruction presets configure."""

import torch
from torch import nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.models.derivatives import jet
from latentsdf.models.factory import build_network


def network_size(config: ReconstructConfig, dim: int) -> int:
    """Count the parameters of a preset's network without allocating them."""
    with torch.device("meta"):
        network = build_network(config.model, dim, config.extent)
    return sum(parameter.numel() for parameter in network.parameters())


def initial_field(config: ReconstructConfig, dim: int, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Evaluate an untrained field and its gradient norm at 500 random points of a sphere."""
    torch.manual_seed(0)
    network = build_network(config.model, dim, config.extent)
    at = jet(network, radius * nn.functional.normalize(torch.randn(500, dim), dim=1))
    return at.distance.detach(), at.gradient.detach().norm(dim=1)


def start_radius_and_slope(config: ReconstructConfig, dim: int, seeds: int = 1) -> tuple[float, float]:
    """Measure the surface of untrained fields: its mean distance from the origin, and |grad u| on it, over some seeds.

    The first zero on each of 60 rays from the origin is found in steps of 0.05, then by bisection; a ray without one
    fails.
    """
    radii, slopes = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = build_network(config.model, dim, config.extent).requires_grad_(False)
        rays = nn.functional.normalize(torch.randn(60, dim), dim=1)
        lengths = 0.05 * torch.arange(1, 41)
        outside = network((lengths[:, None, None] * rays).flatten(0, 1)).unflatten(0, (40, 60)) > 0
        assert outside.any(0).all() and not outside[0].any(), "a ray from the origin has no zero"
        high = lengths[outside.float().argmax(0)]
        low = high - 0.05
        for _ in range(8):
            middle = (low + high) / 2
            crossed = network(middle[:, None] * rays) > 0
            low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
        radii.append(high.mean())
        slopes.append(jet(network, high[:, None] * rays).gradient.norm(dim=1).mean())
    return torch.stack(radii).mean().item(), torch.stack(slopes).mean().item()
