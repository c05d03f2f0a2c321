"""A softplus multilayer perceptron that starts as the signed distance of a sphere (IGR, METHODS 3; HotSpot in 2D)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

_SHARPNESS = 100.0  # softplus(100 x) / 100: nearly a rectifier, but smooth, as gradients of gradients need
_SIZE = 2.0  # root mean square of spread layers: details are learned as fast as the noise of small batches allows
_RIDGE = 1e-4


class SoftplusMLP(nn.Module):
    """Points (N, dim) to distances (N,), at the start close to |x| - radius.

    As published, rectified random layers without biases keep |x|, and all units bend at the origin. That forgets that
    softplus is positive at 0, which shrinks the sphere, and that |x| is kept only on average: scale and shift of the
    output are fitted to |x| - radius here. With `spread`, the half side of a box, each unit bends at a random point of
    it instead, and the output layer is fitted to the sphere: no detail has to wait until biases have moved there.

    With `skip`, that hidden layer (counted from 1) also reads the points, and both parts are scaled by 1 / sqrt 2.
    """

    def __init__(self, dim: int, width: int, depth: int, radius: float, skip: int = 0, *, spread: float = 0.0) -> None:
        super().__init__()
        self.skip = skip
        layers: list[nn.Linear] = []
        for number in range(1, depth + 1):
            # The layer before the skip leaves room for the points.
            out = width - dim if number == skip - 1 else width
            layers.append(nn.Linear(dim if number == 1 else width, out))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(width, 1)
        for layer in layers:
            nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.out_features))
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.last.weight, math.sqrt(math.pi / width), 1e-5)
        nn.init.zeros_(self.last.bias)
        if spread > 0:
            self._spread(layers, dim, radius, spread)
        else:
            self._fit_sphere(dim, radius)

    @torch.no_grad()
    def _spread(self, layers: list[nn.Linear], dim: int, radius: float, extent: float) -> None:
        points = extent * (2 * torch.rand(8192, dim) - 1)
        hidden = points
        for number, layer in enumerate(layers, start=1):
            hidden = self._input(number, hidden, points)
            raw = layer(hidden)
            bend = raw[torch.randint(len(points), (layer.out_features,)), torch.arange(layer.out_features)]
            factor = _SIZE / (raw - bend).relu().square().mean().sqrt()
            layer.weight.mul_(factor)
            layer.bias.copy_(-factor * bend)
            hidden = _activated(layer(hidden))
        features = torch.cat((hidden, torch.ones(len(hidden), 1)), dim=1).double()
        moments = features.T @ features
        moments += _RIDGE * moments.diagonal().mean() * torch.eye(len(moments))
        fitted = torch.linalg.solve(moments, features.T @ (points.norm(dim=1) - radius).double())
        self.last.weight.copy_(fitted[None, :-1])
        self.last.bias.copy_(fitted[-1:])

    @torch.no_grad()
    def _fit_sphere(self, dim: int, radius: float) -> None:
        shell = radius * (0.5 + torch.rand(4096, 1))
        points = shell * nn.functional.normalize(torch.randn(4096, dim), dim=1)
        wanted, found = points.norm(dim=1) - radius, self(points)
        scale = ((found - found.mean()) * (wanted - wanted.mean())).mean() / found.var(correction=0)
        self.last.weight.mul_(scale)
        self.last.bias.copy_(wanted.mean() - scale * found.mean())

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        hidden = points
        for number, layer in enumerate(self.layers, start=1):
            hidden = _activated(layer(self._input(number, hidden, points)))
        distance: Tensor = self.last(hidden).squeeze(-1)
        return distance

    def _input(self, number: int, hidden: Tensor, points: Tensor) -> Tensor:
        return torch.cat((hidden, points), dim=-1) / math.sqrt(2) if number == self.skip else hidden


def _activated(values: Tensor) -> Tensor:
    return nn.functional.softplus(values, beta=_SHARPNESS)
