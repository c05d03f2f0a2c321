"""The dual-branch model: canonical warp, generalization branch, shared grid and overfitting branch.

Compact-SDF (METHODS 1.1) with two additions. A small network moves the points of every shape to one canonical space
(compare Deep Implicit Templates, Zheng et al. 2021), where both branches and the grid live, so that what shapes have in
common lies in the same place. And what the grid knows is added to the general branch: it knows training shapes alone,
and of another shape its network, told apart by the code, has little to add.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.model import Branch, ModelConfig
from latentsdf.models.decoder import ConditionedLinear, Decoder
from latentsdf.models.feature_grid import FeatureGrid
from latentsdf.utils.errors import ConfigError

Lookup = Callable[[Tensor], Tensor]
"""Points (N, 3) to grid features (N, C)."""

_DISPLACEMENT = 0.3  # what an output of 1 moves a point by: the network's learning rate suits distances, not places


class Branches(NamedTuple):
    """Signed distances of both branches at the same points."""

    general: Tensor
    overfit: Tensor


class LatentSDF(nn.Module):
    """Points and codes to signed distances, negative inside.

    The generalization branch s_g sees the canonical point and the code and is smooth. The overfitting branch s_o, of a
    network that also sees the shared grid's features, holds for points near the surface; with `residual` that network
    adds to s_g, and in a model without it s_g takes its place.

    Codes are (S, L), one a shape, or (S, N, L), one for each of the N layers of `conditioned()`: an unseen shape is
    nearer to those than to any one code (compare the space W+ of images, Abdal et al. 2019).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.general = Decoder(config.general, config.code_dim)
        dual = config.overfit.width > 0
        self.grid = FeatureGrid(config.grid.resolution, config.grid.channels) if dual else None
        self.overfit = Decoder(config.overfit, config.code_dim, features=config.grid.channels) if dual else None
        self.warp = Decoder(config.warp, config.code_dim, out=3) if config.warp.width > 0 else None
        if self.warp is not None:
            nn.init.zeros_(self.warp.last.weight)  # training starts from the identity

    @property
    def adds_detail(self) -> bool:
        """Whether s_o is s_g and something on top."""
        return self.overfit is not None and self.config.residual

    def shared_grid(self) -> FeatureGrid:
        """The grid; raises ConfigError for a model without one, which has no detail to learn."""
        if self.grid is None:
            raise ConfigError(
                "this space has a general branch alone (model.overfit.width is 0), so there is no grid to refine; "
                "use a space of a dual-branch preset, such as latentsdf"
            )
        return self.grid

    def canonical(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> Float[Tensor, "S P 3"]:
        """Where the points of a shape lie in the space all shapes share."""
        if self.warp is None:
            return points
        # In bfloat16 a point would miss its place by a tenth of a grid cell.
        with torch.autocast(points.device.type, enabled=False):
            return points + _DISPLACEMENT * self.warp(points, self._read_by(self.warp, codes))

    def conditioned(self) -> list[ConditionedLinear]:
        """The layers that read a code, in the order in which codes by layer are given."""
        layers = (layer for part in self._parts() for layer in part.layers)
        return [layer for layer in layers if isinstance(layer, ConditionedLinear)]

    def _parts(self) -> list[Decoder]:
        return [part for part in (self.warp, self.general, self.overfit) if part is not None]

    def _read_by(self, part: Decoder, codes: Tensor) -> Tensor:
        """Of codes by layer, those of one network."""
        if codes.ndim == 2:
            return codes
        parts = self._parts()
        first = sum(before.conditioned for before in parts[: parts.index(part)])
        return codes[:, first : first + part.conditioned]

    def decode_general(self, canonical: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> Float[Tensor, "S P"]:
        """s_g at canonical points."""
        distance: Tensor = self.general(canonical, self._read_by(self.general, codes)).squeeze(-1)
        return distance

    def decode_overfit(
        self,
        canonical: Float[Tensor, "S P 3"],
        codes: Float[Tensor, "S *N L"],
        lookup: Lookup | None = None,
        general: Float[Tensor, "S P"] | None = None,
    ) -> Float[Tensor, "S P"]:
        """s_o at canonical points, s_g for a model without it.

        `lookup` stands in for the grid in a training step, `general` for s_g where it is known already.
        """
        if self.overfit is None or self.grid is None:
            return self.decode_general(canonical, codes) if general is None else general
        features = (lookup or self.grid)(canonical.reshape(-1, 3)).unflatten(0, canonical.shape[:2])
        distance: Tensor = self.overfit(canonical, self._read_by(self.overfit, codes), features).squeeze(-1)
        if not self.config.residual:
            return distance
        return distance + (self.decode_general(canonical, codes) if general is None else general)

    def branch(
        self,
        branch: Branch,
        points: Float[Tensor, "S P 3"],
        codes: Float[Tensor, "S *N L"],
        lookup: Lookup | None = None,
    ) -> Float[Tensor, "S P"]:
        """Signed distance of one branch by name."""
        canonical = self.canonical(points, codes)
        if branch == "general":
            return self.decode_general(canonical, codes)
        return self.decode_overfit(canonical, codes, lookup)

    def forward(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S *N L"]) -> Branches:
        """Signed distances of both branches at the same points."""
        canonical = self.canonical(points, codes)
        general = self.decode_general(canonical, codes)
        return Branches(general, self.decode_overfit(canonical, codes, general=general))


class LatentCodes(nn.Module):
    """One code per training shape; row i belongs to the i-th shape of the run."""

    def __init__(self, count: int, dim: int, std: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(count, dim) * std)
