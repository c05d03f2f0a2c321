"""Terms in the codes of a shape space: how they are spread, and how smoothly the field follows them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.training import CodePenalty
from latentsdf.training.losses.data import norm_term
from latentsdf.utils.errors import ConfigError


def code_prior_term(codes: Float[Tensor, "S L"], prior: CodePenalty, std: float) -> Tensor:
    """Mean norm, mean squared norm, or the mean divergence per component of N(mean, variance) from N(0, std^2).

    The divergence takes mean and variance over the codes; ConfigError where these are fewer than two or std is 0.
    """
    if prior == "norm":
        return norm_term(codes)
    if prior == "squared":
        return codes.square().sum(-1).mean()
    if len(codes) < 2 or std <= 0:
        raise ConfigError(
            f"the code prior 'kl' compares the spread of a batch's codes with train.code_std: it needs 2 shapes a "
            f"batch or more and a code_std above 0, got {len(codes)} and {std}"
        )
    variance = codes.var(0, unbiased=False) / std**2
    # Codes that coincide have no spread, and the logarithm no value.
    return 0.5 * (variance + (codes.mean(0) / std).square() - 1 - (variance + 1e-12).log()).mean()


def lipschitz_term(
    field: Callable[[Tensor], Float[Tensor, "S P"]], codes: Float[Tensor, "S L"], signs: Float[Tensor, "S P"]
) -> Tensor:
    """Mean |ds / dz|^2 of distances at points of S shapes as functions of their codes, estimated without bias.

    `signs` are independent and +-1: the squared slope of the signed sum is in the mean the sum of squared slopes
    (Hutchinson), at the cost of one reverse pass for all points.
    """
    slope = torch.func.grad(lambda z: (signs * field(z)).sum())(codes)
    return slope.square().sum(-1).mean() / signs.shape[1]
