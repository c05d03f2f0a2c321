"""Distribution of the training codes of a category, from which new shapes are drawn.

A single Gaussian has most of its mass between the kinds of shapes of a category, such as office chairs and stools,
where codes decode to broken surfaces. A mixture of K Gaussians covers the kinds one by one:

    p(z) = sum_k w_k N(z; m_k, C_k),    C_k = (S_k + c P) / (n_k - 1 + c),    P = sum_k S_k / (T - K)

k-means assigns the T codes to components. Component k has n_k codes with the mean m_k, the weight w_k = n_k / T and the
scatter matrix S_k = sum (z - m_k) (z - m_k)^T. Its covariance C_k is shrunk toward the pooled covariance P as if by c
further codes, because most components have fewer codes than dimensions. K and c are those with the highest likelihood
of held-out codes in five folds. For this density, 5 % of the mean variance is added to all directions, since held-out
codes leave the span of the others; samples stay in the span.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from torch import Tensor

_COMPONENTS = (1, 2, 3, 4, 6, 8)
_SHRINKAGES = (5.0, 20.0, 80.0)
_FOLDS = 5
_FLOOR = 0.05  # variance of the density in all directions, as a share of the mean variance
_MIN_CODES = 4  # codes per component on average


@dataclass(frozen=True)
class CodeMixture:
    """Mixture of K Gaussians."""

    weights: Float[Tensor, " K"]
    """Weights w_k, which sum to 1."""
    means: Float[Tensor, "K L"]
    """Means m_k."""
    covariances: Float[Tensor, "K L L"]
    """Covariances C_k, which may be singular."""
    floor: float
    """Variance that `log_density` adds in all directions."""

    @staticmethod
    def fit(codes: Float[Tensor, "T L"]) -> "CodeMixture":
        """Fit a mixture to T >= 1 codes. The number of components and the shrinkage are chosen by held-out likelihood.

        The result depends on the codes only.
        """
        codes = codes.detach().cpu().double()
        assignment, shrinkage = _choose(codes)
        return _estimate(codes, assignment, shrinkage)

    @staticmethod
    def joined(mixtures: Sequence["CodeMixture"], weights: Sequence[float]) -> "CodeMixture":
        """Return the mixture of mixtures with the given weights, which sum to 1."""
        shares = [share * mixture.weights for share, mixture in zip(weights, mixtures, strict=True)]
        return CodeMixture(
            torch.cat(shares),
            torch.cat([mixture.means for mixture in mixtures]),
            torch.cat([mixture.covariances for mixture in mixtures]),
            max(mixture.floor for mixture in mixtures),
        )

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "N L"]:
        """Draw `count` codes, in double precision on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        normal = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        codes = self.means[component]
        for k in range(len(self.weights)):
            variances, directions = torch.linalg.eigh(self.covariances[k])
            drawn = component == k
            codes[drawn] += (normal[drawn] * variances.clamp(min=0).sqrt()) @ directions.T
        return codes

    def log_density(self, codes: Float[Tensor, "N L"]) -> Float[Tensor, " N"]:
        """Evaluate the logarithm of the density at codes."""
        variance = self.floor * torch.eye(self.means.shape[1], dtype=torch.float64)
        gaussians = torch.distributions.MultivariateNormal(self.means, self.covariances + variance)
        by_component = gaussians.log_prob(codes.cpu().double()[:, None])
        return torch.logsumexp(by_component + self.weights.log(), dim=1)


def _choose(codes: Float[Tensor, "T L"]) -> tuple[Int[Tensor, " T"], float]:
    """Assign codes to components; returns the shrinkage as well."""
    rng = np.random.default_rng(0)
    folds = torch.arange(len(codes))[rng.permutation(len(codes))].tensor_split(_FOLDS)
    scores: dict[tuple[int, float], float] = {}
    for count in _COMPONENTS:
        parts = [np.setdiff1d(np.arange(len(codes)), fold) for fold in folds]
        found = [_assign(codes[part], count) for part in parts]
        assignments = [assignment for assignment in found if assignment is not None]
        if len(assignments) < len(parts):
            break
        for shrinkage in _SHRINKAGES:
            scores[count, shrinkage] = sum(
                _estimate(codes[part], assignment, shrinkage).log_density(codes[fold]).sum().item()
                for part, assignment, fold in zip(parts, assignments, folds, strict=True)
            )
    for count, shrinkage in sorted(scores, key=scores.__getitem__, reverse=True):
        assignment = _assign(codes, count)
        if assignment is not None:
            return assignment, shrinkage
    return torch.zeros(len(codes), dtype=torch.long), _SHRINKAGES[0]


def _assign(codes: Float[Tensor, "T L"], count: int) -> Int[Tensor, " T"] | None:
    """Assign codes to components by k-means; None if there are too few different codes."""
    points: NDArray[np.float64] = codes.numpy()
    if len(np.unique(points, axis=0)) < _MIN_CODES * count:
        return None
    if count == 1:
        return torch.zeros(len(codes), dtype=torch.long)
    for seed in range(5):
        try:
            _, assignment = kmeans2(points, count, iter=50, minit="++", missing="raise", seed=seed)
        except ClusterError:  # a component lost all of its codes
            continue
        return torch.from_numpy(assignment).long()
    return None


def _estimate(codes: Float[Tensor, "T L"], assignment: Int[Tensor, " T"], shrinkage: float) -> CodeMixture:
    """Estimate weights, means and covariances, given the components of the codes."""
    members = [codes[assignment == k] for k in range(int(assignment.max()) + 1)]
    means = torch.stack([part.mean(0) for part in members])
    scatter = torch.stack([(part - mean).T @ (part - mean) for part, mean in zip(members, means, strict=True)])
    pooled = scatter.sum(0) / max(1, len(codes) - len(members))
    counts = torch.tensor([len(part) for part in members], dtype=torch.float64)
    covariances = (scatter + shrinkage * pooled) / (counts - 1 + shrinkage)[:, None, None]
    spread = codes - codes.mean(0)
    return CodeMixture(counts / len(codes), means, covariances, _FLOOR * float(spread.square().mean()) + 1e-8)
