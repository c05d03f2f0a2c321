"""Data and norm terms against closed forms."""

import math

import torch

from latentsdf.training.losses.data import (
    data_term,
    hinge_kantorovich_rubinstein_term,
    norm_term,
    relative_term,
)


def test_clamped_mean_absolute_error_of_data_term() -> None:
    """The data term is the mean absolute error, with both distances clamped."""
    predicted, distance = torch.tensor([0.05, 0.5, -0.3]), torch.tensor([0.0, 0.2, -0.05])
    assert math.isclose(data_term(predicted, distance).item(), (0.05 + 0.3 + 0.25) / 3, rel_tol=1e-6)
    assert math.isclose(data_term(predicted, distance, 0.1).item(), (0.05 + 0.0 + 0.05) / 3, rel_tol=1e-6)


def test_relative_error() -> None:
    """Errors are divided by the distance plus 0.01, as the release of Instant-NGP does."""
    predicted, distance = torch.tensor([0.01, 0.5, -0.3]), torch.tensor([0.0, 0.49, -0.19])
    assert math.isclose(relative_term(predicted, distance).item(), (1 + 0.02 + 0.55) / 3, rel_tol=1e-5)


def test_hinge_kantorovich_rubinstein_loss() -> None:
    """Each side has the weight 1; the loss falls with the distance to the right side, and faster on the wrong side."""
    predicted = torch.tensor([0.5, 0.1, -0.3], requires_grad=True)  # two points outside, one inside
    outside = torch.tensor([True, True, False])
    loss = hinge_kantorovich_rubinstein_term(predicted, outside, 0.2, 10.0)
    assert math.isclose(loss.item(), (-0.05 + 0.1 - 0.01) / 2 - 0.03, rel_tol=1e-5)
    loss.backward()
    assert predicted.grad is not None
    torch.testing.assert_close(predicted.grad, torch.tensor([-0.05, -0.55, 0.1]))
    one_side = hinge_kantorovich_rubinstein_term(predicted[:2], outside[:2], 0.2, 10.0)
    assert math.isclose(one_side.item(), 0.02, abs_tol=0.006) and one_side.isfinite()


def test_finite_gradient_of_norm_term_at_zero() -> None:
    """The norm term is the mean norm, with a finite gradient at 0."""
    vectors = torch.zeros(4, 3, requires_grad=True)
    norm_term(vectors).backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    assert math.isclose(norm_term(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).item(), 3.0, rel_tol=1e-6)
