"""A network that was fitted in another frame, as a field of model space.

With the transform y = scale (x - center) from model space to the frame of the fit, a field u of that frame is

    s(x) = u(y) / scale

in model space. Outside the box [-extent, extent]^d of the frame, where the network was not fitted, u is continued by
the distance to the box plus its value at the nearest point of the box.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.models.derivatives import norm


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
        inside = moved.clamp(-self.extent, self.extent)
        distance: Tensor = (self.network(inside) + norm(moved - inside)) / self.scale
        return distance
