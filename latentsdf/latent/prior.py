"""Gaussian prior of the training codes.

With mean m and covariance C of the T training codes z_t (L,),

    C = sum_t (z_t - m) (z_t - m)^T / (T - 1) = V diag(lambda) V^T,    B = V diag(sqrt(lambda + floor))

a code has coordinates u with z = m + B u and u ~ N(0, I) (principal component analysis, whitened). |u|^2 is its squared
Mahalanobis distance from the mean. The columns of B are the principal directions, in order of decreasing
variance, times their standard deviations. The floor, 5 % of the mean variance, keeps B invertible and allows codes to
move in directions in which the training codes hardly vary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class CodePrior:
    """Gaussian of the training codes of a space."""

    mean: Float[Tensor, " L"]
    """Mean m."""
    basis: Float[Tensor, "L L"]
    """B: principal directions times standard deviations, in columns."""
    local_basis: Tensor | None = None

    @staticmethod
    def fit(codes: Float[Tensor, "T L"], channels: int = 0, dim: int | None = None) -> "CodePrior":
        """Estimate mean and covariance from training codes (T, L)."""
        mean = codes.mean(0)
        dim = len(mean) if dim is None else dim
        local = codes[:, dim:]
        local_basis = None
        if local.numel():
            spread = (local - local.mean(0)).reshape(-1, channels)
            values, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
            local_basis = vectors * (values.clamp(min=0) + 0.05 * values.mean() + 1e-8).sqrt()
        centered = (codes - mean)[:, :dim]
        covariance = centered.T @ centered / max(1, len(codes) - 1)
        values, vectors = (x.flip(-1) for x in torch.linalg.eigh(covariance))
        floor = 0.05 * values.clamp(min=0).mean() + 1e-8
        return CodePrior(mean, vectors * (values.clamp(min=0) + floor).sqrt(), local_basis)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """Derivatives by coordinates, from derivatives by codes."""
        dim = len(self.basis)
        coarse = gradient[..., :dim] @ self.basis
        if self.local_basis is None:
            return coarse
        fine = gradient[..., dim:].unflatten(-1, (-1, len(self.local_basis))) @ self.local_basis
        return torch.cat((coarse, fine.flatten(-2)), dim=-1)

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "K L"]:
        """Draw `count` codes (K, L), which do not depend on the device."""
        normal = torch.randn(count, len(self.mean), generator=torch.Generator().manual_seed(seed))
        return self.decode(normal.to(self.mean.device))

    def along(self, direction: int, deviations: Float[Tensor, " K"]) -> Float[Tensor, "K L"]:
        """Return codes (K, L) along a principal direction through the mean.

        Args:
            direction: Principal direction, in order of decreasing variance.
            deviations: Signed distances (K,) from the mean, in standard deviations.
        """
        return self.mean + deviations[:, None] * self.basis[:, direction]

    def decode(self, coordinates: Float[Tensor, "*K L"]) -> Float[Tensor, "*K L"]:
        """Convert coordinates u (*K, L) to codes z = m + B u."""
        dim = len(self.basis)
        codes = self.mean[:dim] + coordinates[..., :dim] @ self.basis.T
        if self.local_basis is None:
            return codes
        fine = coordinates[..., dim:].unflatten(-1, (-1, len(self.local_basis))) @ self.local_basis.T
        return torch.cat((codes, self.mean[dim:] + fine.flatten(-2)), dim=-1)

    def encode(self, codes: Float[Tensor, "K L"]) -> Float[Tensor, "K L"]:
        """Convert codes z (K, L) to coordinates u = B^-1 (z - m)."""
        dim = len(self.basis)
        offset = codes - self.mean
        coarse = torch.linalg.solve(self.basis, offset[..., :dim].T).T
        if self.local_basis is None:
            return coarse
        fine = offset[..., dim:].reshape(-1, len(self.local_basis))
        return torch.cat((coarse, torch.linalg.solve(self.local_basis, fine.T).T.reshape(len(codes), -1)), dim=1)
