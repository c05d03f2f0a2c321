"""A multilayer perceptron from points, codes and features to signed distances or displacements.

Batches are S shapes x P points. The code enters each layer once per shape: its product with the weights is computed
for (S, L) and broadcast over the points, which equals concatenating it to every point and costs 1/P of that.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import BranchConfig, Conditioning
from latentsdf.utils.errors import ConfigError


def encode(points: Float[Tensor, "... 3"], frequencies: int) -> Float[Tensor, "... D"]:
    """Positional encoding [x, sin 2^k x, cos 2^k x], k < frequencies, D = 3 + 6 * frequencies (METHODS 1.1)."""
    if frequencies == 0:
        return points
    scaled = (points[..., None, :] * _octaves(points, frequencies)).flatten(-2)
    return torch.cat((points, scaled.sin(), scaled.cos()), dim=-1)


def _octaves(points: Tensor, frequencies: int) -> Tensor:
    return 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)[:, None]


class ConditionedLinear(nn.Module):
    """An affine layer whose bias, and mostly also its weight, depends on the code z.

    - concat: W h + b + B z, which equals concatenating z to every point's h (DeepSDF).
    - film: (1 + A z) * W h + b + B z, the rows of W scaled (Perez et al. 2018).
    - hyper: (W + sum_k z_k A_k) h + b + B z, a hypernetwork of one linear layer (Ha et al. 2017).

    Weight and bias are made once a shape, so that the points pay a single matrix product. With `normed`, for concat
    alone, the rows of [W B] have learned lengths (weight normalization, Salimans & Kingma 2016). The layer reads
    `code_scale` times the code it is given.
    """

    code_scale = 1.0

    def __init__(
        self, features: int, code_dim: int, out: int, conditioning: Conditioning, *, normed: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out)
        self.shift = nn.Linear(code_dim, out, bias=False)
        self.scale = nn.Linear(code_dim, out, bias=False) if conditioning == "film" else None
        self.weights = nn.Linear(code_dim, out * features, bias=False) if conditioning == "hyper" else None
        self.length = nn.Parameter(torch.ones(out)) if normed else None

    def forward(self, hidden: Float[Tensor, "S P F"], codes: Float[Tensor, "S L"]) -> Float[Tensor, "S P O"]:
        codes = codes * self.code_scale
        if self.length is not None:
            ratio = self.length / self._lengths()
            shift = (self.linear.bias + ratio * self.shift(codes))[:, None]
            return nn.functional.linear(hidden, self.linear.weight * ratio[:, None]) + shift
        shift = (self.linear.bias + self.shift(codes))[:, None]
        if self.weights is not None:
            weight = self.linear.weight + self.weights(codes).unflatten(-1, self.linear.weight.shape)
        elif self.scale is not None:
            weight = self.linear.weight * (1 + self.scale(codes))[..., None]
        else:
            return nn.functional.linear(hidden, self.linear.weight) + shift
        return torch.bmm(hidden, weight.mT) + shift

    def code_weights(self) -> list[Tensor]:
        """What the code is multiplied by."""
        return [part.weight for part in (self.shift, self.scale, self.weights) if part is not None]

    def _lengths(self) -> Tensor:
        return (self.linear.weight.square().sum(1) + self.shift.weight.square().sum(1)).sqrt()

    def initialize(self) -> None:
        """He for the weight; the code's parts are of its size for codes of unit length."""
        spread = math.sqrt(2 / self.linear.in_features)
        by_code = math.sqrt(1 / self.shift.in_features)
        nn.init.normal_(self.linear.weight, 0, spread)
        nn.init.zeros_(self.linear.bias)
        nn.init.normal_(self.shift.weight, 0, by_code)
        if self.scale is not None:
            nn.init.normal_(self.scale.weight, 0, by_code)
        if self.weights is not None:
            nn.init.normal_(self.weights.weight, 0, by_code * spread)

    def initialize_as_joined(self) -> None:
        """torch's default for one layer on [h, z], with the lengths its rows then have (DeepSDF)."""
        bound = 1 / math.sqrt(self.linear.in_features + self.shift.in_features)
        for weight in (self.linear.weight, self.linear.bias, self.shift.weight):
            nn.init.uniform_(weight, -bound, bound)
        if self.length is not None:
            self.length.data.copy_(self._lengths().detach())


class Decoder(nn.Module):
    """Multilayer perceptron with code conditioning.

    `features` is the width of extra per-point input (grid features), 0 for none; `out` that of the output. With `film`
    and `hyper` the code enters every hidden layer, with `concat` the first and the skip layer (DeepSDF).
    """

    def __init__(self, config: BranchConfig, code_dim: int, features: int = 0, out: int = 1) -> None:
        super().__init__()
        if config.recipe != "latentsdf" and config.conditioning != "concat":
            raise ConfigError(f"recipe '{config.recipe}' concatenates codes; set conditioning: concat beside it")
        self.config = config
        # Compact-SDF's release feeds the point itself beside an encoding that starts with it.
        self._twice = config.recipe == "compact_sdf" and config.frequencies > 0
        self._skip_scale = math.sqrt(0.5) if config.recipe == "igr" else 1.0
        inputs = 3 + 6 * config.frequencies + features + (3 if self._twice else 0)
        narrow = config.recipe in ("deepsdf", "igr")
        if narrow and config.skip > 1 and config.width <= inputs + code_dim:
            raise ConfigError(
                f"recipe '{config.recipe}' narrows the layer before the skip by the {inputs + code_dim} values fed "
                f"again, so width must be larger than that, got {config.width}"
            )
        normed = config.recipe == "deepsdf"
        layers: list[nn.Module] = []
        previous = 0
        for depth in range(1, config.depth + 1):
            fed = depth in (1, config.skip)
            width = config.width - inputs - code_dim if narrow and depth == config.skip - 1 else config.width
            incoming = previous + (inputs if fed else 0)
            if config.conditioning != "concat" or fed:
                layer = ConditionedLinear(incoming, code_dim, width, config.conditioning, normed=normed)
                if depth == config.skip:
                    layer.code_scale = self._skip_scale
                layers.append(layer)
            else:
                plain = nn.Linear(incoming, width)
                layers.append(nn.utils.parametrizations.weight_norm(plain) if normed else plain)
            previous = width
        self.layers = nn.ModuleList(layers)
        self.conditioned = sum(isinstance(layer, ConditionedLinear) for layer in layers)
        """How many layers read the code."""
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Softplus(beta=100)
        self.dropout = nn.Dropout(0.2 if config.recipe == "deepsdf" else 0.0)
        self.last = nn.Linear(config.width, out)
        self._initialize()

    def _initialize(self) -> None:
        if self.config.recipe == "deepsdf":
            for layer in self.layers:
                if isinstance(layer, ConditionedLinear):
                    layer.initialize_as_joined()
            return
        if self.config.recipe != "latentsdf":
            self._initialize_geometrically()
            return
        for layer in self.layers:
            if isinstance(layer, ConditionedLinear):
                layer.initialize()
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.in_features))
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.last.weight, 0, 0.1 * math.sqrt(2 / self.last.in_features))
        nn.init.zeros_(self.last.bias)

    def _initialize_geometrically(self) -> None:
        """|x| - r where nothing but x is fed (Atzmon & Lipman 2020); as published also with codes and features."""
        for layer in self.layers:
            parts = (layer.linear, layer.shift) if isinstance(layer, ConditionedLinear) else (layer,)
            for part in parts:
                assert isinstance(part, nn.Linear)
                nn.init.normal_(part.weight, 0, math.sqrt(2 / part.out_features))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        # An unscaled skip doubles the slope; Compact-SDF's release answers by doubling it once more (METHODS 1.1).
        slope, radius = (2.0, 0.5) if self.config.recipe == "compact_sdf" else (1.0, 1.0)
        nn.init.normal_(self.last.weight, slope * math.sqrt(math.pi / self.last.in_features), 1e-6)
        nn.init.constant_(self.last.bias, -radius)

    def forward(
        self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"], features: Tensor | None = None
    ) -> Float[Tensor, "S P O"]:
        """Values at the points; `features` (S, P, F) are the grid's.

        `codes` are (S, L), or (S, N, L) for a code of its own for each of the N conditioned layers.
        """
        inputs = encode(points, self.config.frequencies)
        if self._twice:
            inputs = torch.cat((points, inputs), dim=-1)
        if features is not None:
            inputs = torch.cat((inputs, features), dim=-1)
        hidden, read = inputs, 0
        for depth, layer in enumerate(self.layers, start=1):
            if depth == self.config.skip:
                hidden = torch.cat((hidden, inputs), dim=-1) * self._skip_scale
            if isinstance(layer, ConditionedLinear):
                hidden = layer(hidden, codes if codes.ndim == 2 else codes[:, read])
                read += 1
            else:
                hidden = layer(hidden)
            hidden = self.dropout(self.activation(hidden))
        values: Tensor = self.last(hidden)
        return values.tanh() if self.config.recipe == "deepsdf" else values
