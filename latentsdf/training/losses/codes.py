"""Loss terms of latent codes: their distribution, and the slope of the field as a function of them."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.training import CodePenalty
from latentsdf.training.losses.data import norm_term
from latentsdf.utils.errors import ConfigError


def code_prior_term(codes: Float[Tensor, "S L"], prior: CodePenalty, std: float) -> Tensor:
    """Prior on the codes of a batch.

    `norm`: mean |z|, as in the code of DeepSDF and Compact-SDF. `squared`: mean |z|^2, a Gaussian prior (Park et al.
    2019, Eq. 9). `kl`: with mean m and variance v over the codes of the batch,

        KL(N(m, v) || N(0, std^2)) = (v / std^2 + m^2 / std^2 - 1 - log(v / std^2)) / 2, mean over the L components.

    Args:
        codes: Codes of S shapes.
        prior: Kind of the prior.
        std: Standard deviation of the reference distribution of `kl`.

    Raises:
        ConfigError: `kl` with fewer than two codes, whose variance is undefined, or with a `std` of 0.
    """
    if prior == "norm":
        return norm_term(codes)
    if prior == "squared":
        return codes.square().sum(-1).mean()
    if len(codes) < 2 or std <= 0:
        raise ConfigError(
            f"the code prior 'kl' compares the variance of a batch's codes with train.code_std: it needs at least 2 "
            f"shapes per batch and a code_std above 0, got {len(codes)} and {std}"
        )
    variance = codes.var(0, unbiased=False) / std**2
    # Equal codes have variance 0, at which the logarithm is not finite.
    return 0.5 * (variance + (codes.mean(0) / std).square() - 1 - (variance + 1e-12).log()).mean()


def lipschitz_term(
    field: Callable[[Tensor], Float[Tensor, "S P"]], codes: Float[Tensor, "S L"], signs: Float[Tensor, "S P"]
) -> Tensor:
    """Unbiased estimate of the mean |ds / dz|^2 over P points of each of S shapes (Hutchinson's estimator).

    With independent signs e_p = +-1, E |d/dz sum_p e_p s_p|^2 = sum_p |ds_p / dz|^2, so one reverse pass
    serves all points.

    Args:
        field: Signed distances at the points as a function of the codes.
        codes: Codes at which the slope is estimated.
        signs: Independent random signs.
    """
    slope = torch.func.grad(lambda z: (signs * field(z)).sum())(codes)
    return slope.square().sum(-1).mean() / signs.shape[1]
