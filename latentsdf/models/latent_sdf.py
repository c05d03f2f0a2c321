"""The dual-branch model of a shape space: canonical warp, general branch, shared feature grid and overfit branch.

For a point x of the shape with latent code z,

    x_c = x + w(x, z)                       canonical point (warp)
    s_g = f(x_c, z)                         general branch
    s_o = s_g + h(x_c, z, G(x_c))           overfit branch, a residual on top of s_g

with networks w, f and h and the feature grid G, interpolated trilinearly. The signed distance of the shape is s_o in
the fusion band around the zero set of s_g and s_g elsewhere. With `residual: false` the overfit branch is
s_o = h(x_c, z, G(x_c)), as in Compact-SDF (Bai et al. 2026).

The model extends Compact-SDF in two ways. The warp w maps all shapes to one canonical space (compare Deep Implicit
Templates, Zheng et al. 2021), so that corresponding parts read the same grid cells. And the overfit branch is a
residual: the grid is fitted to training shapes only, so for unseen codes the residual is close to zero.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import Branch, ModelConfig
from latentsdf.models.decoder import ConditionedLinear, Decoder
from latentsdf.models.feature_grid import FeatureGrid, interpolate_lattice
from latentsdf.utils.errors import ConfigError

GridLookup = Callable[[Tensor], Tensor]
"""Canonical points (N, 3) to grid features (N, C)."""

# Displacement for a network output of 1; the learning rate of the networks would be too high for unscaled positions.
_WARP_SCALE = 0.3


class BranchDistances(NamedTuple):
    """Signed distances (S, P) of both branches at the same points."""

    general: Tensor
    overfit: Tensor


class LatentSDF(nn.Module):
    """Map from points and latent codes to signed distances, negative inside; see the module docstring.

    Codes are (S, L), one per shape, or (S, N, L), one for each of the N layers of `conditioned_layers()`. Codes per
    layer approximate an unseen shape more closely than a single code (compare the extended latent space W+ of
    StyleGAN, Abdal et al. 2019).

    With `config.local`, a code has L + M values: the global part, followed by the local part, C values at each vertex
    of a coarse lattice over the box of canonical space. The local part is interpolated trilinearly at x_c and is a
    further input of both branches. Such codes have no variant per layer.

    Args:
        config: Architecture of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        local = config.local.channels if config.local_size else 0
        self.general = Decoder(config.general, config.code_dim, features=local)
        dual = config.overfit.width > 0
        self.grid = FeatureGrid(config.grid.resolution, config.grid.channels) if dual else None
        features = config.grid.channels + local
        self.overfit = Decoder(config.overfit, config.code_dim, features=features) if dual else None
        self.warp = Decoder(config.warp, config.code_dim, out=3) if config.warp.width > 0 else None
        if self.warp is not None:
            nn.init.zeros_(self.warp.last.weight)  # training starts from the identity

    @property
    def is_residual(self) -> bool:
        """Whether the model has an overfit branch of the form s_o = s_g + h."""
        return self.overfit is not None and self.config.residual

    def like_weights(self, values: Tensor) -> Tensor:
        """Convert values to the type and the device of the weights; gradients pass through the conversion."""
        return values.to(next(self.parameters()))

    def require_grid(self) -> FeatureGrid:
        """The feature grid.

        Raises:
            ConfigError: The model has only a general branch.
        """
        if self.grid is None:
            raise ConfigError(
                "this space has only a general branch (model.overfit.width is 0), so there is no grid to refine; "
                "use a space of a dual-branch preset, such as latentsdf"
            )
        return self.grid

    def canonical(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> Float[Tensor, "S P 3"]:
        """Canonical points x_c = x + w(x, z), always computed in float32; x itself for a model without a warp."""
        if self.warp is None:
            return points
        # In bfloat16 the rounding error of a position would be a tenth of a grid cell.
        with torch.autocast(points.device.type, enabled=False):
            return points + _WARP_SCALE * self.warp(points, self._codes_of(self.warp, codes))

    def conditioned_layers(self) -> list[ConditionedLinear]:
        """The layers that read a code, in the order of codes per layer: those of w, f, and h."""
        layers = (layer for decoder in self._decoders() for layer in decoder.layers)
        return [layer for layer in layers if isinstance(layer, ConditionedLinear)]

    def _decoders(self) -> list[Decoder]:
        return [decoder for decoder in (self.warp, self.general, self.overfit) if decoder is not None]

    def _codes_of(self, decoder: Decoder, codes: Tensor) -> Tensor:
        """Select the global part of the codes, and of codes per layer those of one network."""
        codes = codes[..., : self.config.code_dim]
        if codes.ndim == 2:
            return codes
        decoders = self._decoders()
        first = sum(before.conditioned_count for before in decoders[: decoders.index(decoder)])
        return codes[:, first : first + decoder.conditioned_count]

    def local_features(self, canonical: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> Tensor | None:
        """Local parts of the codes at canonical points, (S, P, C); None for codes without a local part."""
        if self.config.local_size == 0:
            return None
        resolution, channels = self.config.local.resolution, self.config.local.channels
        tables = codes[:, self.config.code_dim :].unflatten(1, (-1, channels))
        return interpolate_lattice(tables, canonical, resolution)

    def decode_general(
        self, canonical: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"], local: Tensor | None = None
    ) -> Float[Tensor, "S P"]:
        """General branch s_g at canonical points; `local` are their local features, if known."""
        local = self.local_features(canonical, codes) if local is None else local
        distance: Tensor = self.general(canonical, self._codes_of(self.general, codes), local).squeeze(-1)
        return distance

    def decode_overfit(
        self,
        canonical: Float[Tensor, "S P 3"],
        codes: Float[Tensor, "S *N L"],
        lookup: GridLookup | None = None,
        general: Float[Tensor, "S P"] | None = None,
        local: Tensor | None = None,
    ) -> Float[Tensor, "S P"]:
        """Overfit branch s_o at canonical points; s_g for a model with only a general branch.

        Args:
            canonical: (S, P, 3) canonical points.
            codes: (S, L), or (S, N, L) with one code per conditioned layer.
            lookup: Replacement for the grid lookup G.
            general: s_g at the points, (S, P), if it is already known.
            local: `local_features` at the points, if they are already known.

        Returns:
            Signed distances (S, P).
        """
        if self.overfit is None or self.grid is None:
            return self.decode_general(canonical, codes, local) if general is None else general
        features = (lookup or self.grid)(canonical.reshape(-1, 3)).unflatten(0, canonical.shape[:2])
        local = self.local_features(canonical, codes) if local is None else local
        if local is not None:
            features = torch.cat((features, local), dim=-1)
        distance: Tensor = self.overfit(canonical, self._codes_of(self.overfit, codes), features).squeeze(-1)
        if not self.config.residual:
            return distance
        return distance + (self.decode_general(canonical, codes, local) if general is None else general)

    def branch(
        self,
        branch: Branch,
        points: Float[Tensor, "S P 3"],
        codes: Float[Tensor, "S *N L"],
        lookup: GridLookup | None = None,
    ) -> Float[Tensor, "S P"]:
        """Signed distances (S, P) of the branch with the given name at points in model space."""
        canonical = self.canonical(points, codes)
        if branch == "general":
            return self.decode_general(canonical, codes)
        return self.decode_overfit(canonical, codes, lookup)

    def forward(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> BranchDistances:
        """Signed distances of both branches at points in model space."""
        canonical = self.canonical(points, codes)
        local = self.local_features(canonical, codes)
        general = self.decode_general(canonical, codes, local)
        return BranchDistances(general, self.decode_overfit(canonical, codes, general=general, local=local))


class LatentCodes(nn.Module):
    """Latent codes of the training shapes.

    Args:
        count: Number of shapes T; row i is the code of the i-th shape.
        dim: Length L of the global part, drawn from N(0, std^2) per component.
        local: Length M of the local part, initially 0.
        std: Standard deviation of the initialization.
    """

    def __init__(self, count: int, dim: int, local: int, std: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(count, dim) * std)
        self.local = nn.Parameter(torch.zeros(count, local))

    def forward(self) -> Float[Tensor, "T N"]:
        """Codes (T, L + M) of all shapes."""
        return torch.cat((self.table, self.local), dim=1)

    def replace(self, codes: Float[Tensor, "T N"]) -> None:
        """Set the codes of all shapes."""
        self.table.data.copy_(codes[:, : self.table.shape[1]])
        self.local.data.copy_(codes[:, self.table.shape[1] :])
