"""Mixture of Gaussians of the training codes, one mixture per category, chosen by held-out likelihood.

The distribution of codes z (L,) of a category is

    p(z) = sum_k w_k N(z; m_k, C),    C = (1 - a) S + a S_0 + e I

with K components of equal covariance C: the covariance S within the components of the category, shrunk towards the
covariance S_0 within all categories, because a category has fewer codes than a covariance has
entries. e is 1 % of the mean variance. K and the shrinkage a are those of the largest mean log-likelihood of held-out
codes in five-fold cross-validation. Components are found by k-means on codes whitened by S_0.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

_FOLDS = 5
_SHRINKAGES = (0.1, 0.3, 0.6, 0.9)
_MAX_COMPONENTS = 8
_MIN_CODES_PER_COMPONENT = 6
_FLOOR = 0.01

Codes = Float[NDArray[np.float64], "T L"]


@dataclass(frozen=True)
class Mixture:
    """Mixture of Gaussians with a common covariance."""

    weights: Float[NDArray[np.float64], " K"]
    means: Float[NDArray[np.float64], "K L"]
    factor: Float[NDArray[np.float64], "L L"]
    """Lower Cholesky factor of the covariance."""

    def log_likelihood(self, codes: Codes) -> Float[NDArray[np.float64], " T"]:
        """Logarithm of the density at codes (T, L)."""
        offsets = (codes[:, None] - self.means).reshape(-1, codes.shape[1])
        squares = np.square(np.linalg.solve(self.factor, offsets.T)).sum(0).reshape(len(codes), -1)
        constant = np.log(np.diag(self.factor)).sum() + 0.5 * codes.shape[1] * np.log(2 * np.pi)
        return np.logaddexp.reduce(np.log(self.weights) - 0.5 * squares, axis=1) - constant

    def sample(self, count: int, rng: np.random.Generator, spread: float = 1.0) -> Codes:
        """Draw codes (count, L); `spread` scales the standard deviations within the components."""
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        return self.means[component] + spread * rng.normal(size=(count, self.means.shape[1])) @ self.factor.T


def fit_mixtures(codes: Codes, categories: Sequence[str]) -> dict[str, Mixture]:
    """Fit a mixture to the codes of each category.

    Args:
        codes: Training codes (T, L).
        categories: Category of each code.

    Returns:
        Mixtures by category, in order of the names.
    """
    groups = {name: codes[[c == name for c in categories]] for name in sorted(set(categories))}
    residual = np.concatenate([group - group.mean(0) for group in groups.values()])
    pooled = residual.T @ residual / max(1, len(residual) - len(groups))
    return {name: _select(group, pooled) for name, group in groups.items()}


def _select(codes: Codes, pooled: NDArray[np.float64]) -> Mixture:
    """Fit with the number of components and the shrinkage of the largest held-out likelihood."""
    largest = max(1, min(_MAX_COMPONENTS, len(codes) // _MIN_CODES_PER_COMPONENT))
    choices = list(itertools.product(range(1, largest + 1), _SHRINKAGES))
    if len(codes) < 2 * _FOLDS:
        return _fit(codes, pooled, 1, _SHRINKAGES[-1])
    fold = np.random.default_rng(0).permutation(len(codes)) % _FOLDS
    scores = [
        np.mean([_fit(codes[fold != f], pooled, *c).log_likelihood(codes[fold == f]).mean() for f in range(_FOLDS)])
        for c in choices
    ]
    return _fit(codes, pooled, *choices[int(np.argmax(scores))])


def _fit(codes: Codes, pooled: NDArray[np.float64], components: int, shrinkage: float) -> Mixture:
    means, label = _cluster(codes, components, pooled)
    residual = codes - means[label]
    within = residual.T @ residual / max(1, len(codes) - components)
    covariance = (1 - shrinkage) * within + shrinkage * pooled
    covariance += (_FLOOR * np.trace(covariance) / len(covariance) + 1e-10) * np.eye(len(covariance))
    weights = np.bincount(label, minlength=len(means)) / len(codes)
    return Mixture(weights, means, np.linalg.cholesky(covariance))


def _cluster(
    codes: Codes, components: int, pooled: NDArray[np.float64]
) -> tuple[Codes, Int[NDArray[np.int64], " T"]]:
    """Means (K, L) and component of each code, by k-means on codes whitened by `pooled`; empty components are dropped."""
    label = np.zeros(len(codes), dtype=np.int64)
    if components > 1:
        floor = _FLOOR * np.trace(pooled) / len(pooled) + 1e-10
        whitened = np.linalg.solve(np.linalg.cholesky(pooled + floor * np.eye(len(pooled))), codes.T).T
        label = kmeans2(whitened, components, minit="++", seed=0, missing="warn")[1]
        label = np.unique(label, return_inverse=True)[1]
    return np.stack([codes[label == k].mean(0) for k in range(label.max() + 1)]), label
