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
