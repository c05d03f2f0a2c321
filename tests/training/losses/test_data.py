"""Data and norm terms against closed forms."""

import math

import torch

from latentsdf.training.losses.data import data_term, norm_term


def test_clamped_mean_absolute_error_of_data_term() -> None:
    """The data term is the mean absolute error, with both distances clamped."""
    predicted, distance = torch.tensor([0.05, 0.5, -0.3]), torch.tensor([0.0, 0.2, -0.05])
    assert math.isclose(data_term(predicted, distance).item(), (0.05 + 0.3 + 0.25) / 3, rel_tol=1e-6)
    assert math.isclose(data_term(predicted, distance, 0.1).item(), (0.05 + 0.0 + 0.05) / 3, rel_tol=1e-6)


def test_finite_gradient_of_norm_term_at_zero() -> None:
    """The norm term is the mean norm, with a finite gradient at 0."""
    vectors = torch.zeros(4, 3, requires_grad=True)
    norm_term(vectors).backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert math.isclose(norm_term(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).item(), 3.0, rel_tol=1e-6)
