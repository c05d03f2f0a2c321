"""Sine networks of linear or quadratic layers, and starts that are spheres (SIREN, DiGS, StEik; METHODS 4.3, 5, 6).

A sine layer is sin(omega (W x + b)). The sphere starts rest on small arguments, where sin(omega W x) is omega W x:
layers whose omega W are isometries carry |x| to the last hidden layer, which turns it into n - sum cos(pi h / 2), about
(pi^2 / 8) |x|^2, and the output takes the root.

DiGS and StEik publish random matrices that keep |x| only on average, an output scaled by 0.1 and a radius of 1.6 before
the factors; here the matrices are isometries, so that the start is a sphere of the stated radius and slope (test).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.reconstruction import NetworkStart

_LOW_FREQUENCIES = 0.25  # share of the first layer's rows
_FAINT = 5e-4  # what the second layer takes of the others
_PERIOD = 30.0


class QuadraticLinear(nn.Module):
    """(W1 x + b1) (W2 x + b2) + W3 x^2 + b3, starting as the linear layer W1 (StEik, METHODS 6)."""

    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, out)
        self.factor = nn.Linear(inputs, out)
        self.square = nn.Linear(inputs, out)
        for layer, bias in ((self.factor, 1.0), (self.square, 0.0)):
            nn.init.normal_(layer.weight, 0, 1e-5)
            nn.init.constant_(layer.bias, bias)

    def forward(self, values: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """Values of the next layer before its activation."""
        product: Tensor = self.linear(values) * self.factor(values) + self.square(values.square())
        return product


class SineNetwork(nn.Module):
    """Points (N, dim) to distances (N,) by `depth` hidden layers of `width`.

    `start` is `siren`: uniform weights, no level set to speak of; `sphere`: DiGS' geometric start; `multifrequency`: a
    sphere whose first layer also holds high frequencies, which the second almost ignores until they prove useful;
    `bowl`: SIREN's layers as a correction, zero at first, of (|x|^2 - radius^2) / (2 radius), which has a sphere's
    zeros and slope there, and unlike the others no kink where the network is zero: terms in second derivatives need
    that.

    `slope` is |grad u| at the start of the sphere starts; the published ones have about 0.1.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        depth: int,
        *,
        start: NetworkStart = "sphere",
        quadratic: bool = False,
        radius: float = 0.5,
        slope: float = 1.0,
        omega: float = 30.0,
    ) -> None:
        super().__init__()
        self.start, self.radius, self.slope, self.omega = start, radius, slope, omega
        kind = QuadraticLinear if quadratic else nn.Linear
        self.layers = nn.ModuleList(kind(dim if n == 0 else width, width) for n in range(depth))
        self.last = kind(width, 1)
        linear = [layer.linear if isinstance(layer, QuadraticLinear) else layer for layer in (*self.layers, self.last)]
        if start in ("siren", "bowl"):
            _start_as_siren(linear, omega)
            if start == "bowl":
                nn.init.zeros_(linear[-1].weight)
                nn.init.zeros_(linear[-1].bias)
        else:
            _start_as_sphere(linear, omega)
            if start == "multifrequency":
                _add_frequencies(linear, omega)

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        hidden = points
        for layer in self.layers:
            hidden = torch.sin(self.omega * layer(hidden))
        output: Tensor = self.last(hidden).squeeze(-1)
        if self.start == "siren":
            return output
        if self.start == "bowl":
            return output + (points.square().sum(-1) - self.radius**2) / (2 * self.radius)
        # 1e-8: the root has no derivative at 0, the centre of the sphere.
        root = output.sign() * (output.abs() + 1e-8).sqrt() * (math.sqrt(8) / math.pi)
        return self.slope * (root - self.radius)


@torch.no_grad()
def _start_as_siren(layers: list[nn.Linear], omega: float) -> None:
    for number, layer in enumerate(layers):
        bound = 1 / layer.in_features if number == 0 else math.sqrt(6 / layer.in_features) / omega
        layer.weight.uniform_(-bound, bound)


@torch.no_grad()
def _start_as_sphere(layers: list[nn.Linear], omega: float) -> None:
    *carrying, cosine, last = layers
    for layer in carrying:
        nn.init.orthogonal_(layer.weight, gain=1 / omega)
        nn.init.zeros_(layer.bias)
    cosine.weight.copy_(math.pi / 2 * torch.eye(*cosine.weight.shape) / omega)
    cosine.bias.fill_(math.pi / 2 / omega)
    for parameter in (cosine.weight, cosine.bias):
        parameter.add_(torch.randn_like(parameter), alpha=1e-3 / omega)
    nn.init.normal_(last.weight, -1, 1e-5)
    nn.init.constant_(last.bias, last.in_features)


@torch.no_grad()
def _add_frequencies(layers: list[nn.Linear], omega: float) -> None:
    first, second = layers[:2]
    low = max(first.in_features, round(_LOW_FREQUENCIES * first.out_features))
    nn.init.orthogonal_(first.weight[:low], gain=1 / omega)
    bound = math.sqrt(3 / first.in_features) * _PERIOD / omega
    first.weight[low:].uniform_(-bound, bound)
    bound = _FAINT * math.sqrt(3 / second.in_features) / omega
    second.weight.uniform_(-bound, bound)
    nn.init.orthogonal_(second.weight[:low, :low], gain=1 / omega)
