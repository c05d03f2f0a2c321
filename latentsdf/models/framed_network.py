"""A network that was fitted in a box, continued beyond it, and moved from the frame of the fit to model space.

With the transform y = scale (x - center) from model space to the frame of the fit, a field u of that frame is

    s(x) = u(y) / scale

in model space. Outside the box [-extent, extent]^d of the frame, where the network was not fitted, u is continued
(`continued_distance`).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.models.derivatives import norm
from latentsdf.models.lipschitz_mlp import LipschitzMLP


def continued_distance(network: nn.Module, points: Float[Tensor, "N d"], extent: float) -> Float[Tensor, " N"]:
    """Evaluate a network that was fitted in a box at any points.

    Outside the box, the result is the distance to the box plus the value at the nearest point of the box. Its slope is
    up to the root of 2 where both change. For a `LipschitzMLP` u, the result is max(u, b) instead, with b the signed
    distance to the box, negative inside: the maximum of 1-Lipschitz functions is 1-Lipschitz, has the zero set of u
    within the box, and no zeros beyond it.

    Args:
        network: Maps points (N, d) to distances (N,).
        points: Points (N, d).
        extent: Half side of the box [-extent, extent]^d in which the network was fitted.

    Returns:
        Distances (N,).
    """
    inside = points.clamp(-extent, extent)
    beyond = norm(points - inside)
    if not isinstance(network, LipschitzMLP):
        distance: Tensor = network(inside) + beyond
        return distance
    to_box = beyond + (points.abs().amax(1) - extent).clamp(max=0)
    return torch.maximum(network(points), to_box)


class FramedNetwork(nn.Module):
    """Map from points (N, dim) of model space to distances (N,) in units of model space.

    Args:
        network: Maps points (N, dim) of the frame of the fit to distances (N,).
        dim: Dimension of the points.
        extent: Half side of the box in which the network was fitted.
    """

    center: Tensor
    """(dim,) point of model space that is the origin of the frame."""
    scale: Tensor
    """() units of the frame per unit of model space."""

    def __init__(self, network: nn.Module, dim: int, extent: float) -> None:
        super().__init__()
        self.network, self.extent = network, extent
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        moved = (points - self.center) * self.scale
        return continued_distance(self.network, moved, self.extent) / self.scale
