"""Multilayer perceptron from points, latent codes and grid features to signed distances or displacements.

Symbols: x a point (3,), z a latent code (L,), F(x) optional grid features (C,), h the input of a layer. A batch has S
shapes with P points each. The network input is

    gamma(x) = [x, sin 2^k x, cos 2^k x],  k = 0 .. K - 1        (positional encoding, without a factor of pi)

followed by F(x). A conditioned layer computes, before its activation,

    concat   W h + b + B z                        (DeepSDF, Park et al. 2019)
    film     diag(1 + A z) W h + b + B z          (FiLM, Perez et al. 2018)
    hyper    (W + sum_k z_k A_k) h + b + B z      (linear hypernetwork, Ha et al. 2017)

The terms in z are computed once per shape, (S, L), and broadcast over its points. For `concat` this equals the
concatenation of z to every point's input, at 1/P of the cost.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import BranchConfig, Conditioning
from latentsdf.utils.errors import ConfigError


def positional_encoding(points: Float[Tensor, "*N 3"], frequencies: int) -> Float[Tensor, "*N D"]:
    """Positional encoding gamma(x) = [x, sin 2^k x, cos 2^k x] with k < frequencies and D = 3 + 6 * frequencies."""
    if frequencies == 0:
        return points
    octaves = 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)[:, None]
    scaled = (points[..., None, :] * octaves).flatten(-2)
    return torch.cat((points, scaled.sin(), scaled.cos()), dim=-1)


class ConditionedLinear(nn.Module):
    """An affine layer whose bias and, except for `concat`, weight depend on the latent code; see the module docstring.

    Weight and bias are computed once per shape, so that its points take a single matrix product. The code is
    multiplied by `code_scale` first.

    Args:
        features: Width of the layer's input h.
        code_dim: Length L of the code.
        out: Width of the layer's output.
        conditioning: Formula by which the code affects the layer.
        weight_norm: For `concat` only: whether the rows of [W B] have learned lengths (weight normalization, Salimans
            and Kingma 2016).
    """

    code_scale = 1.0

    def __init__(
        self, features: int, code_dim: int, out: int, conditioning: Conditioning, *, weight_norm: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out)
        self.shift = nn.Linear(code_dim, out, bias=False)
        self.scale = nn.Linear(code_dim, out, bias=False) if conditioning == "film" else None
        self.weights = nn.Linear(code_dim, out * features, bias=False) if conditioning == "hyper" else None
        self.length = nn.Parameter(torch.ones(out)) if weight_norm else None

    def forward(self, hidden: Float[Tensor, "S P F"], codes: Float[Tensor, "S L"]) -> Float[Tensor, "S P O"]:
        """Pre-activations of the layer."""
        codes = codes * self.code_scale
        if self.length is not None:
            ratio = self.row_scale()
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

    def with_code(self, code: Float[Tensor, " L"]) -> nn.Linear:
        """Return the linear layer that this layer is for one code, without gradients by it."""
        code = code * self.code_scale
        weight, bias = self.linear.weight, self.linear.bias + self.shift(code)
        if self.length is not None:
            ratio = self.row_scale()
            weight, bias = weight * ratio[:, None], self.linear.bias + ratio * self.shift(code)
        elif self.weights is not None:
            weight = weight + self.weights(code).unflatten(-1, weight.shape)
        elif self.scale is not None:
            weight = weight * (1 + self.scale(code))[:, None]
        layer = nn.Linear(1, 1, device="meta")  # its parameters are replaced
        layer.weight, layer.bias = (nn.Parameter(value.detach(), requires_grad=False) for value in (weight, bias))
        return layer

    def code_weights(self) -> list[Tensor]:
        """The matrices that multiply the code: B, and A if the conditioning has one."""
        return [part.weight for part in (self.shift, self.scale, self.weights) if part is not None]

    def row_scale(self) -> Float[Tensor, " O"]:
        """Factors by which weight normalization, which the layer must have, multiplies the rows of [W B]."""
        assert self.length is not None
        return self.length / self._row_norms()

    def _row_norms(self) -> Tensor:
        """Euclidean norms (O,) of the rows of [W B]."""
        return (self.linear.weight.square().sum(1) + self.shift.weight.square().sum(1)).sqrt()

    def initialize(self) -> None:
        """He initialization of W; A and B give terms of the same size as W for codes of unit length."""
        weight_std = math.sqrt(2 / self.linear.in_features)
        code_std = math.sqrt(1 / self.shift.in_features)
        nn.init.normal_(self.linear.weight, 0, weight_std)
        nn.init.zeros_(self.linear.bias)
        nn.init.normal_(self.shift.weight, 0, code_std)
        if self.scale is not None:
            nn.init.normal_(self.scale.weight, 0, code_std)
        if self.weights is not None:
            nn.init.normal_(self.weights.weight, 0, code_std * weight_std)

    def initialize_concatenated(self) -> None:
        """Default initialization in torch of one linear layer on [h, z], with the row lengths that result (DeepSDF)."""
        bound = 1 / math.sqrt(self.linear.in_features + self.shift.in_features)
        for weight in (self.linear.weight, self.linear.bias, self.shift.weight):
            nn.init.uniform_(weight, -bound, bound)
        if self.length is not None:
            self.length.data.copy_(self._row_norms().detach())


class Decoder(nn.Module):
    """Multilayer perceptron conditioned on a latent code.

    With `film` and `hyper` the code enters every hidden layer, with `concat` the first layer and the skip layer, which
    also receives the network input again (DeepSDF).

    Args:
        config: Architecture of the network.
        code_dim: Length L of the code.
        features: Width of the additional input per point (grid features), 0 for none.
        out: Width of the output.

    Raises:
        ConfigError: A published recipe is combined with another conditioning than `concat`, or the layer before the
            skip would have no units.
    """

    def __init__(self, config: BranchConfig, code_dim: int, features: int = 0, out: int = 1) -> None:
        super().__init__()
        if config.recipe != "latentsdf" and config.conditioning != "concat":
            raise ConfigError(f"recipe '{config.recipe}' concatenates codes; set conditioning: concat as well")
        self.config = config
        # Compact-SDF's release concatenates x to gamma(x), which already starts with x.
        self._repeat_points = config.recipe == "compact_sdf" and config.frequencies > 0
        self._skip_scale = math.sqrt(0.5) if config.recipe == "igr" else 1.0
        inputs = 3 + 6 * config.frequencies + features + (3 if self._repeat_points else 0)
        is_narrowed = config.recipe in ("deepsdf", "igr")
        if is_narrowed and config.skip > 1 and config.width <= inputs + code_dim:
            raise ConfigError(
                f"recipe '{config.recipe}' narrows the layer before the skip by the {inputs + code_dim} values fed "
                f"again, so width must be larger than that, got {config.width}"
            )
        weight_norm = config.recipe == "deepsdf"
        layers: list[nn.Module] = []
        previous = 0
        for depth in range(1, config.depth + 1):
            reads_input = depth in (1, config.skip)
            before_skip = is_narrowed and depth == config.skip - 1
            width = config.width - inputs - code_dim if before_skip else config.width
            incoming = previous + (inputs if reads_input else 0)
            if config.conditioning != "concat" or reads_input:
                layer = ConditionedLinear(incoming, code_dim, width, config.conditioning, weight_norm=weight_norm)
                if depth == config.skip:
                    layer.code_scale = self._skip_scale
                layers.append(layer)
            else:
                plain = nn.Linear(incoming, width)
                layers.append(nn.utils.parametrizations.weight_norm(plain) if weight_norm else plain)
            previous = width
        self.layers = nn.ModuleList(layers)
        self.conditioned_count = sum(isinstance(layer, ConditionedLinear) for layer in layers)
        """Number of layers that read the code."""
        self.activation = nn.ReLU() if config.activation == "relu" else nn.Softplus(beta=100)
        self.dropout = nn.Dropout(0.2 if config.recipe == "deepsdf" else 0.0)
        self.last = nn.Linear(config.width, out)
        self._initialize()

    def _initialize(self) -> None:
        if self.config.recipe == "deepsdf":
            for layer in self.layers:
                if isinstance(layer, ConditionedLinear):
                    layer.initialize_concatenated()
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
        """Geometric initialization (Atzmon and Lipman 2020, SAL; Gropp et al. 2020, IGR).

        Hidden weights are N(0, sqrt(2 / out)), the last ones N(sqrt(pi / in), 1e-6), with last bias -r, so that the
        network starts close to |x| - r if x is its only input. As in the published code, columns of codes, features
        and encodings are initialized in the same way, although the start is then no sphere.
        """
        for layer in self.layers:
            parts = (layer.linear, layer.shift) if isinstance(layer, ConditionedLinear) else (layer,)
            for part in parts:
                assert isinstance(part, nn.Linear)
                nn.init.normal_(part.weight, 0, math.sqrt(2 / part.out_features))
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        # A skip connection without scaling doubles the slope; Compact-SDF's release doubles it once more.
        slope, radius = (2.0, 0.5) if self.config.recipe == "compact_sdf" else (1.0, 1.0)
        nn.init.normal_(self.last.weight, slope * math.sqrt(math.pi / self.last.in_features), 1e-6)
        nn.init.constant_(self.last.bias, -radius)

    def forward(
        self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"], features: Tensor | None = None
    ) -> Float[Tensor, "S P O"]:
        """Evaluate the network.

        Args:
            points: (S, P, 3).
            codes: (S, L), or (S, N, L) with one code per conditioned layer.
            features: (S, P, C) grid features, if the network has such an input.

        Returns:
            Outputs (S, P, O).
        """
        inputs = positional_encoding(points, self.config.frequencies)
        if self._repeat_points:
            inputs = torch.cat((points, inputs), dim=-1)
        if features is not None:
            inputs = torch.cat((inputs, features), dim=-1)
        hidden, code_index = inputs, 0
        for depth, layer in enumerate(self.layers, start=1):
            if depth == self.config.skip:
                hidden = torch.cat((hidden, inputs), dim=-1) * self._skip_scale
            if isinstance(layer, ConditionedLinear):
                hidden = layer(hidden, codes if codes.ndim == 2 else codes[:, code_index])
                code_index += 1
            else:
                hidden = layer(hidden)
            hidden = self.dropout(self.activation(hidden))
        values: Tensor = self.last(hidden)
        return values.tanh() if self.config.recipe == "deepsdf" else values
