"""Phase field of the medial axis, a sine residual network.

The phase field v (`training.losses.medial_axis`) is 1 away from the medial axis and 0 on it. With omega the frequency
of all layers,

    h_0 = sin(omega (W_0 x + b_0)),   h_i = h_{i-1} + sin(omega (W_i h_{i-1} + b_i)),   v = sigmoid(0.1 (w h_n + b)).

At initialization w = 0, so v is constant.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_LOGIT_SCALE = 0.1
_INITIAL_BIAS = 20.0  # a logit of 2, hence v = 0.88 everywhere


class PhaseField(nn.Module):
    """Map from points (N, dim) to phases v (N,) in (0, 1).

    Args:
        dim: Dimension of the points.
        width: Width of the hidden layers.
        blocks: Number n of residual blocks, one sine layer each.
        omega: Frequency of the sine layers.
    """

    def __init__(self, dim: int, width: int, blocks: int, omega: float) -> None:
        super().__init__()
        self.omega = omega
        self.first = nn.Linear(dim, width)
        hidden = [nn.Linear(width, width) for _ in range(blocks)]
        self.blocks = nn.ModuleList(hidden)
        self.last = nn.Linear(width, 1)
        for layer in hidden:
            bound = (6 / width) ** 0.5 / omega
            nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, _INITIAL_BIAS)

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Phases v."""
        hidden = torch.sin(self.omega * self.first(points))
        for layer in self.blocks:
            hidden = hidden + torch.sin(self.omega * layer(hidden))
        return torch.sigmoid(_LOGIT_SCALE * self.last(hidden).squeeze(-1))
