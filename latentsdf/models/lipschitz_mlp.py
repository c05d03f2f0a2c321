"""A network whose Lipschitz constant is at most 1, so that it never overestimates the distance to its zero set.

The input x is padded with zeros to the width of the network. Each layer is an SDP-based Lipschitz layer (SLL; Araujo
et al. 2023)

    h <- h - 2 W^T T^-1 relu(W h + b),   T_ii = sum_j |(W W^T)_ij| exp(q_j - q_i),

which is 1-Lipschitz for all W, b and q: its Jacobian I - 2 W^T T^-1 D W, with D diagonal between 0 and I, has a norm of
at most 1 because W W^T <= T. The output is w . h / |w| + c. Padding, layers and output are 1-Lipschitz, hence

    |u(x) - u(y)| <= |x - y|   for all x and y,

up to rounding, before, during and after training. For a point y of the zero set this is |u(x)| <= |x - y|: a step of
length |u(x)| never passes the surface. Networks of this kind were proposed for signed distances by Coiffier and Béthune
(2024), who start all values as here. The field is piecewise linear: its second derivatives are zero.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LipschitzLayer(nn.Module):
    """1-Lipschitz map (N, width) -> (N, width); see the module docstring.

    Args:
        width: Number of units.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.empty(width))
        self.log_scale = nn.Parameter(torch.empty(width))
        """(width,) The vector q."""
        bound = 1 / math.sqrt(width)
        nn.init.xavier_normal_(self.weight)
        nn.init.uniform_(self.bias, -bound, bound)
        nn.init.normal_(self.log_scale)

    def forward(self, hidden: Float[Tensor, "N w"]) -> Float[Tensor, "N w"]:
        """Outputs of the layer."""
        step = self.step_sizes() * nn.functional.relu(nn.functional.linear(hidden, self.weight, self.bias))
        return hidden - 2 * (step @ self.weight)

    def step_sizes(self) -> Float[Tensor, " w"]:
        """The diagonal of T^-1, 0 for rows of W that are 0."""
        ratios = torch.exp(self.log_scale - self.log_scale[:, None])
        bounds = ((self.weight @ self.weight.T).abs() * ratios).sum(1)
        positive = bounds > 0
        # The inner `where` keeps the infinite slope of 1 / T at 0 out of the gradient.
        return torch.where(positive, 1 / torch.where(positive, bounds, 1.0), 0.0)


class LipschitzMLP(nn.Module):
    """Map from points (N, dim) to distances (N,) with |u(x) - u(y)| <= |x - y|.

    Args:
        dim: Dimension of the points.
        width: Width of the layers, at least `dim`.
        depth: Number of layers.
    """

    def __init__(self, dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.padding = width - dim
        self.layers = nn.Sequential(*(LipschitzLayer(width) for _ in range(depth)))
        self.direction = nn.Parameter(nn.functional.normalize(torch.randn(width), dim=0))
        """(width,) The vector w."""
        self.offset = nn.Parameter(torch.zeros(()))
        """() The constant c."""

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        hidden = self.layers(nn.functional.pad(points, (0, self.padding)))
        distance: Tensor = hidden @ nn.functional.normalize(self.direction, dim=0) + self.offset
        return distance
