"""Gaussian prior of the training codes.

With mean m and covariance C of the T training codes z_t (L,),

    C = sum_t (z_t - m) (z_t - m)^T / (T - 1) = V diag(lambda) V^T,    B = V diag(sqrt(lambda + floor))

a code has coordinates u with z = m + B u and u ~ N(0, I) (principal component analysis, whitened). |u|^2 is its squared
Mahalanobis distance from the mean. The columns of B are the principal directions, in order of decreasing
variance, times their standard deviations. The floor, 5 % of the mean variance, keeps B invertible and allows codes to
move in directions in which the training codes hardly vary.

For codes with a local part (M,), this describes the global part. The values y (C,) of one vertex of the local lattice
follow from the global part by linear regression, up to a Gaussian that is common to all vertices,

    y = m_y + R u + B_y v,    v ~ N(0, I)

Coordinates are then (u, v of all vertices), (L + M,).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_RIDGE = 0.1
"""Regularization of the regression, relative to the number of codes; coordinates u have unit variance."""


@dataclass(frozen=True)
class LocalPrior:
    """Conditional Gaussian of the local part of a code, given the coordinates u of its global part."""

    mean: Float[Tensor, " M"]
    regression: Float[Tensor, "M L"]
    """R of all vertices."""
    basis: Float[Tensor, "C C"]
    """B_y: principal directions of the rest at one vertex, times standard deviations, in columns."""

    def decode(self, coordinates: Float[Tensor, "*K L"], rest: Float[Tensor, "*K M"]) -> Float[Tensor, "*K M"]:
        """Convert coordinates u and v to local parts."""
        fine = rest.unflatten(-1, (-1, len(self.basis))) @ self.basis.T
        return self.mean + coordinates @ self.regression.T + fine.flatten(-2)

    def encode(self, coordinates: Float[Tensor, "K L"], local: Float[Tensor, "K M"]) -> Float[Tensor, "K M"]:
        """Convert local parts to coordinates v, given the coordinates u."""
        rest = (local - self.mean - coordinates @ self.regression.T).reshape(-1, len(self.basis))
        return torch.linalg.solve(self.basis, rest.T).T.reshape(local.shape)


@dataclass(frozen=True)
class CodePrior:
    """Gaussian of the training codes of a space."""

    global_mean: Float[Tensor, " L"]
    """Mean m of the global parts."""
    basis: Float[Tensor, "L L"]
    """B: principal directions times standard deviations, in columns."""
    local: LocalPrior | None = None
    """Prior of the local part; None for codes without one."""

    @staticmethod
    def fit(codes: Float[Tensor, "T N"], dim: int | None = None, channels: int = 0) -> "CodePrior":
        """Estimate the prior from training codes.

        Args:
            codes: Training codes (T, L) or, with local parts, (T, L + M).
            dim: Length L of the global part; None if there is no local part.
            channels: Values C per vertex of the local part.
        """
        dim = codes.shape[1] if dim is None else dim
        mean = codes[:, :dim].mean(0)
        centered = codes[:, :dim] - mean
        basis = _scaled_directions(centered.T @ centered / max(1, len(codes) - 1))
        if codes.shape[1] == dim:
            return CodePrior(mean, basis)
        coordinates = torch.linalg.solve(basis, centered.T).T
        local_mean = codes[:, dim:].mean(0)
        local = codes[:, dim:] - local_mean
        gram = coordinates.T @ coordinates + _RIDGE * len(codes) * torch.eye(dim).to(codes)
        regression = torch.linalg.solve(gram, coordinates.T @ local).T
        rest = (local - coordinates @ regression.T).reshape(-1, channels)
        return CodePrior(mean, basis, LocalPrior(local_mean, regression, _scaled_directions(rest.T @ rest / len(rest))))

    def to(self, like: Tensor) -> "CodePrior":
        """Convert the prior to the type and the device of a tensor."""
        local = self.local and LocalPrior(
            self.local.mean.to(like), self.local.regression.to(like), self.local.basis.to(like)
        )
        return CodePrior(self.global_mean.to(like), self.basis.to(like), local)

    @property
    def mean(self) -> Float[Tensor, " N"]:
        """Mean of the codes, including their local parts."""
        return self.global_mean if self.local is None else torch.cat((self.global_mean, self.local.mean))

    def with_local_part(self, global_parts: Float[Tensor, "K L"]) -> Float[Tensor, "K N"]:
        """Append the expected local parts to the global parts of codes."""
        if self.local is None:
            return global_parts
        return self._decode_global(torch.linalg.solve(self.basis, (global_parts - self.global_mean).T).T)

    def along(self, direction: int, deviations: Float[Tensor, " K"]) -> Float[Tensor, "K N"]:
        """Return codes along a principal direction through the mean.

        Args:
            direction: Principal direction, in order of decreasing variance.
            deviations: Signed distances (K,) from the mean, in standard deviations.
        """
        coordinates = deviations.new_zeros(len(deviations), len(self.global_mean))
        coordinates[:, direction] = deviations
        return self._decode_global(coordinates)

    def decode(self, coordinates: Float[Tensor, "*K N"]) -> Float[Tensor, "*K N"]:
        """Convert coordinates u, or (u, v), to codes z = m + B u with their local parts."""
        dim = len(self.basis)
        codes = self.global_mean + coordinates[..., :dim] @ self.basis.T
        if self.local is None:
            return codes
        return torch.cat((codes, self.local.decode(coordinates[..., :dim], coordinates[..., dim:])), dim=-1)

    def encode(self, codes: Float[Tensor, "K N"]) -> Float[Tensor, "K N"]:
        """Convert codes to coordinates u = B^-1 (z - m), followed by those of the local part."""
        dim = len(self.basis)
        coordinates = torch.linalg.solve(self.basis, (codes[:, :dim] - self.global_mean).T).T
        if self.local is None:
            return coordinates
        return torch.cat((coordinates, self.local.encode(coordinates, codes[:, dim:])), dim=1)

    def _decode_global(self, coordinates: Float[Tensor, "K L"]) -> Float[Tensor, "K N"]:
        """Codes with the expected local part."""
        count = 0 if self.local is None else len(self.local.mean)
        return self.decode(torch.cat((coordinates, coordinates.new_zeros(len(coordinates), count)), dim=1))


def _scaled_directions(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    """Principal directions times standard deviations, in columns, in order of decreasing variance."""
    values, vectors = (x.flip(-1) for x in torch.linalg.eigh(covariance))
    floor = 0.05 * values.clamp(min=0).mean() + 1e-8
    return vectors * (values.clamp(min=0) + floor).sqrt()
