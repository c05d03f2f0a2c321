"""The Gaussian of a space's training codes: z = mean + basis u with u ~ N(0, 1), directions sorted by variance."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class CodePrior:
    """`mean` (L,); the columns of `basis` (L, L) are principal directions times standard deviations."""

    mean: Float[Tensor, " L"]
    basis: Float[Tensor, "L L"]

    @staticmethod
    def fit(codes: Float[Tensor, "T L"]) -> "CodePrior":
        """Mean and covariance root; the floor keeps directions open that few training shapes span."""
        mean = codes.mean(0)
        centered = codes - mean
        covariance = centered.T @ centered / max(1, len(codes) - 1)
        values, vectors = (x.flip(-1) for x in torch.linalg.eigh(covariance))
        floor = 0.05 * values.clamp(min=0).mean() + 1e-8
        return CodePrior(mean, vectors * (values.clamp(min=0) + floor).sqrt())

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "K L"]:
        """Codes drawn from the distribution."""
        normal = torch.randn(count, len(self.mean), generator=torch.Generator().manual_seed(seed))
        return self.decode(normal.to(self.mean.device))

    def along(self, direction: int, deviations: Float[Tensor, " K"]) -> Float[Tensor, "K L"]:
        """The mean moved along a principal direction, 0 the one of largest variance, by standard deviations."""
        return self.mean + deviations[:, None] * self.basis[:, direction]

    def decode(self, coordinates: Float[Tensor, "*K L"]) -> Float[Tensor, "*K L"]:
        """Coordinates u -> codes."""
        return self.mean + coordinates @ self.basis.T

    def encode(self, codes: Float[Tensor, "K L"]) -> Float[Tensor, "K L"]:
        """Codes -> coordinates u."""
        return torch.linalg.solve(self.basis, (codes - self.mean).T).T
