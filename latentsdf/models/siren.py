"""Sine networks with linear or quadratic layers, and initializations as the signed distance of a sphere.

A sine layer computes sin(omega q(x)) with q linear (SIREN, Sitzmann et al. 2020), q(x) = W x + b, or quadratic (StEik,
Yang et al. 2023),

    q(x) = (W1 x + b1) * (W2 x + b2) + W3 x^2 + b3        (products elementwise).

Sphere initialization (DiGS, Ben-Shabat et al. 2022): for small arguments sin(omega W x) is close to omega W x. Layers
whose omega W are isometries transport |x| to the last hidden layer h, which with the output layer computes

    n - sum_i cos(pi h_i / 2)  ~  (pi^2 / 8) |x|^2;

the signed root of this minus the radius is the distance of a sphere. Here the matrices are isometries, so that the
initial field is a sphere of the configured radius and slope.

The releases of DiGS, StEik and HotSpot draw random matrices instead (start `mfgi`), scale the output by 0.1 and
subtract a radius of 1.6 before scaling. Their matrices change |x|, mostly because the second layer reads a quarter of
its inputs with the weights of a layer that reads all of them: the initial surface is smaller than that of isometries
and only roughly a sphere, and its slope is larger.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.reconstruction import NetworkStart

_LOW_FREQUENCY_SHARE = 0.25  # fraction of the first layer's rows with low frequencies (DiGS)
_HIGH_FREQUENCY_GAIN = 5e-4  # weights with which the second layer reads the other rows
_PERIOD = 30.0  # frequency ratio between the two groups of rows


class QuadraticLinear(nn.Module):
    """Quadratic layer (W1 x + b1) * (W2 x + b2) + W3 x^2 + b3 (StEik, Yang et al. 2023).

    W2 and W3 start at N(0, 1e-5), b2 at 1 and b3 at 0, so that the layer starts as the linear layer W1 x + b1.

    Args:
        inputs: Width of the input.
        out: Width of the output.
    """

    def __init__(self, inputs: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, out)
        self.factor = nn.Linear(inputs, out)
        self.square = nn.Linear(inputs, out)
        for layer, bias in ((self.factor, 1.0), (self.square, 0.0)):
            nn.init.normal_(layer.weight, 0, 1e-5)
            nn.init.constant_(layer.bias, bias)

    def forward(self, values: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """Pre-activations of the layer."""
        product: Tensor = self.linear(values) * self.factor(values) + self.square(values.square())
        return product


class SineNetwork(nn.Module):
    """Map from points (N, dim) to distances (N,) by sine layers.

    Initializations (`start`):

    - `siren`: uniform weights; the initial field has no meaningful zero set.
    - `sphere`: the geometric initialization of DiGS as a sphere.
    - `multifrequency`: a sphere whose first layer also has high-frequency rows (DiGS). The second layer reads them with
      weights of about 5e-4, so they matter only once training increases these weights.
    - `mfgi`: the same with the random matrices of the releases, for which `radius` and `slope` only set the transform
      of the output, slope * (root - radius).
    - `bowl`: u = (|x|^2 - r^2) / (2 r) + SIREN layers whose output is zero at first. Its zero set is a sphere of radius
      r with slope 1. Unlike the sphere initializations it has no signed root, hence no kink at zeros of the network,
      which losses in second derivatives require.

    Args:
        dim: Dimension of the points.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        start: Initialization.
        quadratic: Whether layers are quadratic instead of linear.
        radius: Radius r of the initial sphere, in model space.
        slope: |grad u| of the initial field for `sphere` and `multifrequency`; the published ones have about 0.1.
        omega: Frequency of the sine layers.
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
            _initialize_siren(linear, omega)
            if start == "bowl":
                nn.init.zeros_(linear[-1].weight)
                nn.init.zeros_(linear[-1].bias)
        else:
            _initialize_sphere(linear, omega)
            if start == "mfgi":
                _randomize_isometries(linear, omega)
            if start == "multifrequency":
                _initialize_high_frequencies(linear, omega)

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
        # The root has no derivative at 0, the center of the sphere.
        root = output.sign() * (output.abs() + 1e-8).sqrt() * (math.sqrt(8) / math.pi)
        return self.slope * (root - self.radius)


@torch.no_grad()
def _initialize_siren(layers: list[nn.Linear], omega: float) -> None:
    """Uniform weights: bound 1 / in for the first layer, sqrt(6 / in) / omega for the others (Sitzmann et al. 2020)."""
    for number, layer in enumerate(layers):
        bound = 1 / layer.in_features if number == 0 else math.sqrt(6 / layer.in_features) / omega
        layer.weight.uniform_(-bound, bound)


@torch.no_grad()
def _initialize_sphere(layers: list[nn.Linear], omega: float) -> None:
    """Isometries, then n - sum cos(pi h_i / 2) from the last two layers (DiGS)."""
    *isometries, cosine, last = layers
    for layer in isometries:
        nn.init.orthogonal_(layer.weight, gain=1 / omega)
        nn.init.zeros_(layer.bias)
    cosine.weight.copy_(math.pi / 2 * torch.eye(*cosine.weight.shape) / omega)
    cosine.bias.fill_(math.pi / 2 / omega)
    for parameter in (cosine.weight, cosine.bias):
        parameter.add_(torch.randn_like(parameter), alpha=1e-3 / omega)
    nn.init.normal_(last.weight, -1, 1e-5)
    nn.init.constant_(last.bias, last.in_features)


@torch.no_grad()
def _initialize_high_frequencies(layers: list[nn.Linear], omega: float) -> None:
    """Replace most rows of the first layer by high frequencies that the second layer almost ignores (DiGS)."""
    first, second = layers[:2]
    low = max(first.in_features, round(_LOW_FREQUENCY_SHARE * first.out_features))
    nn.init.orthogonal_(first.weight[:low], gain=1 / omega)
    bound = math.sqrt(3 / first.in_features) * _PERIOD / omega
    first.weight[low:].uniform_(-bound, bound)
    bound = _HIGH_FREQUENCY_GAIN * math.sqrt(3 / second.in_features) / omega
    second.weight.uniform_(-bound, bound)
    nn.init.orthogonal_(second.weight[:low, :low], gain=1 / omega)


@torch.no_grad()
def _randomize_isometries(layers: list[nn.Linear], omega: float) -> None:
    """Replace the isometries by the random matrices and biases of the releases of DiGS, StEik and HotSpot.

    With n the width of a layer's output and m that of its input, weights times omega are uniform, bounded by
    sqrt(3 / n), and by sqrt(3 / m) in the first two layers, where the first quarter of the units has low frequencies.
    """
    first, second, *isometries = layers[:-2]
    for layer in (first, second, *isometries):
        bound = math.sqrt(3 / layer.out_features) / omega
        layer.weight.uniform_(-bound, bound)
        bound = 1 / (1000 * layer.out_features) / omega
        layer.bias.uniform_(-bound, bound)
    low = int(_LOW_FREQUENCY_SHARE * first.out_features)
    bound = math.sqrt(3 / first.in_features) / omega
    first.weight[:low].uniform_(-bound, bound)
    first.weight[low:].uniform_(-_PERIOD * bound, _PERIOD * bound)
    bound = math.sqrt(3 / second.in_features)
    # The lower bound lacks the division by omega, in all releases.
    second.weight.uniform_(-_HIGH_FREQUENCY_GAIN * bound, _HIGH_FREQUENCY_GAIN * bound / omega)
    second.weight[:low, :low].uniform_(-bound / omega, bound / omega)
