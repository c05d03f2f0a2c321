"""Terms of the latent codes against closed forms."""

import math

import pytest
import torch

from latentsdf.training.losses.codes import code_prior_term, lipschitz_term
from latentsdf.utils.errors import ConfigError


def test_lipschitz_term_of_linear_field() -> None:
    """For a field that is linear in the code, the mean estimate is the mean squared slope."""
    generator = torch.Generator().manual_seed(0)
    slopes, codes = torch.randn(3, 40, 5, generator=generator), torch.randn(3, 5, generator=generator)
    signs = torch.randint(2, (600, 3, 40), generator=generator) * 2.0 - 1.0
    found = [lipschitz_term(lambda z: (slopes * z[:, None]).sum(-1), codes, sign).item() for sign in signs]
    assert math.isclose(sum(found) / len(found), slopes.square().sum(-1).mean().item(), rel_tol=0.05)


def test_code_priors_match_closed_forms() -> None:
    """The priors equal the norm, the squared norm and the KL divergence of torch."""
    codes = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert math.isclose(code_prior_term(codes, "norm", 1.0).item(), 2.5, rel_tol=1e-5)
    assert math.isclose(code_prior_term(codes, "squared", 1.0).item(), 12.5, rel_tol=1e-6)
    start = torch.distributions.Normal(0.0, 2.0)
    fitted = torch.distributions.Normal(codes.mean(0), codes.std(0, unbiased=False))
    expected = torch.distributions.kl_divergence(fitted, start).mean().item()
    assert math.isclose(code_prior_term(codes, "kl", 2.0).item(), expected, rel_tol=1e-5)
    for few, std in ((codes[:1], 1.0), (codes, 0.0)):
        with pytest.raises(ConfigError, match="it needs at least 2 shapes per batch and a code_std above 0"):
            code_prior_term(few, "kl", std)
