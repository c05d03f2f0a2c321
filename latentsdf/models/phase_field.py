"""Phase field of the medial axis, a sine residual network.

The phase field v (`training.losses.medial_axis`) is 1 away from the medial axis and 0 on it. With omega the frequency
of all layers and a the gain,

    single         h_0 = sin(omega (W_0 x + b_0)),   h_i = h_{i-1} + a sin(omega (W_i h_{i-1} + b_i))
    preactivated   h_0 = W_0 x + b_0,                h_i = h_{i-1} + a (V_i sin(omega g_i) + c_i),
                                                     g_i = W_i sin(omega h_{i-1}) + b_i

and v = sigmoid(0.1 (w h_n + b)). At initialization w = 0, so v is constant. The second kind is that of the release,
with a = 1 in 2D and 0.5 in 3D.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.reconstruction import PhaseKind

_LOGIT_SCALE = 0.1
_INITIAL_BIAS = {"single": 20.0, "preactivated": 1.0}
"""Logits of 2 and 0.1, hence v = 0.88 and 0.52 everywhere; the second value is that of the release."""


class PhaseField(nn.Module):
    """Map from points (N, dim) to phases v (N,) in (0, 1).

    Args:
        dim: Dimension of the points.
        width: Width of the hidden layers.
        blocks: Number n of residual blocks.
        omega: Frequency of the sine layers.
        kind: Blocks; see the module docstring.
        gain: Factor a of the output of each block.
    """

    def __init__(
        self, dim: int, width: int, blocks: int, omega: float, *, kind: PhaseKind = "single", gain: float = 1.0
    ) -> None:
        super().__init__()
        self.omega, self.kind, self.gain = omega, kind, gain
        self.first = nn.Linear(dim, width)
        hidden = [nn.Linear(width, width) for _ in range(blocks)]
        self.blocks = nn.ModuleList(hidden)
        seconds = [nn.Linear(width, width) for _ in range(blocks)] if kind == "preactivated" else []
        self.seconds = nn.ModuleList(seconds)
        self.last = nn.Linear(width, 1)
        for layer in (*hidden, *seconds):
            bound = (6 / width) ** 0.5 / omega
            nn.init.uniform_(layer.weight, -bound, bound)
        if kind == "preactivated":
            nn.init.uniform_(self.first.weight, -1 / dim, 1 / dim)
            for layer in (self.first, *hidden, *seconds):
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, _INITIAL_BIAS[kind])

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Phases v."""
        hidden = self.first(points)
        if self.kind == "single":
            hidden = torch.sin(self.omega * hidden)
            for layer in self.blocks:
                hidden = hidden + self.gain * torch.sin(self.omega * layer(hidden))
        else:
            for first, second in zip(self.blocks, self.seconds, strict=True):
                inner = first(torch.sin(self.omega * hidden))
                hidden = hidden + self.gain * second(torch.sin(self.omega * inner))
        return torch.sigmoid(_LOGIT_SCALE * self.last(hidden).squeeze(-1))
