"""The phase field of medial-axis-aware learning: 1 away from the medial axis, 0 on it (METHODS 8.2)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_FLATTEN = 0.1  # the output's logits are scaled by this
_START = 20.0  # a logit of 2: v = 0.88 everywhere


class PhaseField(nn.Module):
    """Points (N, dim) to v (N,) in (0, 1): a residual network of `blocks` sine layers, constant at the start."""

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
        nn.init.constant_(self.last.bias, _START)

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """The phase."""
        hidden = torch.sin(self.omega * self.first(points))
        for layer in self.blocks:
            hidden = hidden + torch.sin(self.omega * layer(hidden))
        return torch.sigmoid(_FLATTEN * self.last(hidden).squeeze(-1))
