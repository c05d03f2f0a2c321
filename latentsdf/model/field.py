"""The dual-branch model: generalization branch, shared grid and overfitting branch (Compact-SDF, METHODS 1.1)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config import Branch, ModelConfig
from latentsdf.model.decoder import Decoder
from latentsdf.model.grid import FeatureGrid


class Branches(NamedTuple):
    """Signed distances of both branches at the same points."""

    general: Tensor
    overfit: Tensor


class LatentSDF(nn.Module):
    """Points and codes to signed distances, negative inside.

    The generalization branch s_g sees the point and the code and is smooth. The overfitting branch s_o also sees the
    shared grid's features and holds for points near the surface.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = FeatureGrid(config.grid.resolution, config.grid.channels)
        self.general = Decoder(config.general, config.code_dim)
        self.overfit = Decoder(config.overfit, config.code_dim, features=config.grid.channels)

    def forward_general(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S L"]) -> Float[Tensor, "S P"]:
        """Signed distance of the generalization branch."""
        distance: Tensor = self.general(points, codes)
        return distance

    def forward_overfit(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S L"]) -> Float[Tensor, "S P"]:
        """Signed distance of the overfitting branch."""
        features = self.grid(points.reshape(-1, 3)).unflatten(0, points.shape[:2])
        distance: Tensor = self.overfit(points, codes, features)
        return distance

    def branch(self, branch: Branch, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S L"]) -> Tensor:
        """Signed distance (S, P) of one branch by name."""
        return self.forward_general(points, codes) if branch == "general" else self.forward_overfit(points, codes)

    def forward(self, points: Float[Tensor, "S P 3"], codes: Float[Tensor, "S L"]) -> Branches:
        """Signed distances of both branches at the same points."""
        return Branches(self.forward_general(points, codes), self.forward_overfit(points, codes))


class LatentCodes(nn.Module):
    """One code per training shape; row i belongs to the i-th shape of the run."""

    def __init__(self, count: int, dim: int, std: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(count, dim) * std)
