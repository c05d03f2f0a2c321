"""Softplus multilayer perceptron, initialized as the signed distance |x| - r of a sphere.

The activation is softplus(beta t) / beta with beta = 100: close to a rectifier but smooth, so that losses in grad u can
be differentiated. The geometric initialization (SAL, Atzmon and Lipman 2020; IGR, Gropp et al. 2020) draws hidden
weights from N(0, sqrt(2 / out)) with zero biases, which preserves |x| on average, and output weights from
N(sqrt(pi / in), 1e-5). HotSpot (Wang et al. 2025) uses such a network in 2D, but draws hidden weights around 0.005
and multiplies the output weights by 1.5, with output bias -0.2: the field of its start is positive everywhere. SAL has
rectifiers max(t, 0) and weight normalization, and its start is 2 |x| - 1, by output weights of 2 sqrt(pi / in).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

_BETA = 100.0
_SPREAD_RMS = 2.0  # RMS activation of the spread start; larger values amplify the gradient noise of small batches
_HOTSPOT_MEAN, _HOTSPOT_GAIN, _HOTSPOT_BIAS = 0.005, 1.5, -0.2
_RIDGE = 1e-4  # Tikhonov regularization of the output layer's least-squares fit, relative to the mean diagonal


class SoftplusMLP(nn.Module):
    """Map from points (N, dim) to distances (N,), initially close to slope (|x| - radius).

    The published initialization neglects that softplus is positive at 0, which shrinks the sphere, and preserves |x|
    only on average. Here, scale and shift of the output layer are fitted to slope (|x| - radius) by linear regression.

    In the published initialization all units have their kink at the origin, so details elsewhere are learned only
    after the biases have moved. With `spread` > 0, each kink is at a random point of the box instead, and the output
    layer is fitted to the sphere by ridge regression.

    Args:
        dim: Dimension of the points.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        radius: Radius of the initial sphere, in model space.
        skip: Hidden layer, counted from 1, that also reads the points, with both inputs scaled by 1 / sqrt(2); 0 for
            none.
        spread: Half side of the box over which the kinks are distributed; 0 for the published initialization.
        hotspot: Use the initialization of HotSpot's planar release, without a sphere.
        slope: |grad u| of the initial field.
        rectifier: Use max(t, 0) instead of softplus. The gradient is then piecewise constant, and second derivatives
            are 0.
        weight_norm: Learn the lengths of the rows of hidden weight matrices apart from their directions.
        frequencies: Octaves K of Fourier features. The network then reads x, sin(2^k pi x) and cos(2^k pi x), k < K,
            wherever it reads x. Their weights are 0 at first, so that the start is that of the network without them.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        depth: int,
        radius: float,
        skip: int = 0,
        *,
        spread: float = 0.0,
        hotspot: bool = False,
        slope: float = 1.0,
        rectifier: bool = False,
        weight_norm: bool = False,
        frequencies: int = 0,
    ) -> None:
        super().__init__()
        self.skip, self.frequencies = skip, frequencies
        self._activation = torch.relu if rectifier else _softplus
        inputs = dim * (1 + 2 * frequencies)
        layers: list[nn.Linear] = []
        for number in range(1, depth + 1):
            # The layer before the skip is narrower, so that with the points the next input has the full width.
            out = width - dim if number == skip - 1 else width
            incoming = inputs if number == 1 else width + (inputs - dim if number == skip else 0)
            layers.append(nn.Linear(incoming, out))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(width, 1)
        mean, gain = (_HOTSPOT_MEAN, _HOTSPOT_GAIN) if hotspot else (0.0, 1.0)
        for layer in layers:
            nn.init.normal_(layer.weight, mean, math.sqrt(2 / layer.out_features))
            nn.init.zeros_(layer.bias)
        for number in (1, skip) if frequencies else ():
            if number:
                nn.init.zeros_(layers[number - 1].weight[:, dim - inputs :])
        nn.init.normal_(self.last.weight, gain * math.sqrt(math.pi / width), 1e-5)
        nn.init.zeros_(self.last.bias)
        if hotspot:
            nn.init.constant_(self.last.bias, _HOTSPOT_BIAS)
        elif spread > 0:
            self._initialize_spread(layers, dim, radius, slope, spread)
        else:
            self._rescale_output(dim, radius, slope)
        for layer in layers if weight_norm else ():
            nn.utils.parametrizations.weight_norm(layer)

    @torch.no_grad()
    def _initialize_spread(self, layers: list[nn.Linear], dim: int, radius: float, slope: float, extent: float) -> None:
        """Move the kink of each unit to a random point of the box, then fit the output layer to the sphere."""
        points = extent * (2 * torch.rand(8192, dim) - 1)
        radii = points.norm(dim=1)
        points = self._encode(points)
        hidden = points
        for number, layer in enumerate(layers, start=1):
            hidden = self._input(number, hidden, points)
            values = layer(hidden)
            bend = values[torch.randint(len(points), (layer.out_features,)), torch.arange(layer.out_features)]
            factor = _SPREAD_RMS / (values - bend).relu().square().mean().sqrt()
            layer.weight.mul_(factor)
            layer.bias.copy_(-factor * bend)
            hidden = self._activation(layer(hidden))
        features = torch.cat((hidden, torch.ones(len(hidden), 1)), dim=1).double()
        gram = features.T @ features
        gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
        fitted = torch.linalg.solve(gram, features.T @ (slope * (radii - radius)).double())
        self.last.weight.copy_(fitted[None, :-1])
        self.last.bias.copy_(fitted[-1:])

    @torch.no_grad()
    def _rescale_output(self, dim: int, radius: float, slope: float) -> None:
        """Fit scale and shift of the output layer to slope (|x| - radius) on a shell around the sphere."""
        shell = radius * (0.5 + torch.rand(4096, 1))
        points = shell * nn.functional.normalize(torch.randn(4096, dim), dim=1)
        target, output = slope * (points.norm(dim=1) - radius), self(points)
        scale = ((output - output.mean()) * (target - target.mean())).mean() / output.var(correction=0)
        self.last.weight.mul_(scale)
        self.last.bias.copy_(target.mean() - scale * output.mean())

    def forward(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances."""
        points = self._encode(points)
        hidden = points
        for number, layer in enumerate(self.layers, start=1):
            hidden = self._activation(layer(self._input(number, hidden, points)))
        distance: Tensor = self.last(hidden).squeeze(-1)
        return distance

    def _encode(self, points: Tensor) -> Tensor:
        """Return the points, followed by their Fourier features."""
        if not self.frequencies:
            return points
        octaves = [2**octave * math.pi * points for octave in range(self.frequencies)]
        return torch.cat((points, *(wave(scaled) for scaled in octaves for wave in (torch.sin, torch.cos))), dim=-1)

    def _input(self, number: int, hidden: Tensor, points: Tensor) -> Tensor:
        """Input of a hidden layer: the previous output, joined with the points at the skip."""
        return torch.cat((hidden, points), dim=-1) / math.sqrt(2) if number == self.skip else hidden


def _softplus(values: Tensor) -> Tensor:
    return nn.functional.softplus(values, beta=_BETA)
