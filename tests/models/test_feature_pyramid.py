"""The feature pyramid against torch operations and finite differences."""

import pytest
import torch

from latentsdf.models.derivatives import jet
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.training.losses.first_order import eikonal_term, surface_term


@pytest.fixture(params=[2, 3])
def pyramid(request: pytest.FixtureRequest) -> FeaturePyramid:
    """A pyramid of three levels with random features, in 2D and 3D."""
    torch.manual_seed(0)
    made = FeaturePyramid(request.param, (2, 5, 9), channels=3, width=16, depth=2, extent=1.2)
    torch.nn.init.normal_(made.table, 0, 0.3)
    return made


def test_compiled_pass_matches_torch_operations(pyramid: FeaturePyramid) -> None:
    """Features and row gradients agree, other rows get no gradient, and gradients are cleared when read."""
    points = torch.rand(200, pyramid.dim) * 3 - 1.5
    assert torch.allclose(pyramid._features(points), pyramid.features_reference(points), atol=1e-5)
    gradient = torch.randn(200, 1 + pyramid.dim, 9)
    (reference,) = torch.autograd.grad((pyramid.features_reference(points) * gradient).sum(), pyramid.table)
    (pyramid._features(points) * gradient).sum().backward()
    rows, values = pyramid.pop_row_gradients()
    assert torch.allclose(values, reference[rows], atol=1e-4)
    untouched = torch.ones(len(reference), dtype=torch.bool)
    untouched[rows] = False
    assert not reference[untouched].any()
    assert len(pyramid.pop_row_gradients()[0]) == 0


def test_gradients_match_central_differences(pyramid: FeaturePyramid) -> None:
    """The chain-rule gradient equals difference quotients away from cell faces."""
    points = torch.rand(300, pyramid.dim) * 2 - 1
    found = jet(pyramid, points)
    assert torch.allclose(found.distance, pyramid(points), atol=1e-6)
    step = 1e-3 * torch.eye(pyramid.dim)
    slopes = torch.stack([(pyramid(points + s) - pyramid(points - s)) / 2e-3 for s in step], dim=1)
    # A difference across a cell face does not approximate the gradient.
    assert (found.gradient - slopes).abs().median() < 5e-3


def test_features_and_gradient_of_linear_function() -> None:
    """Multilinear interpolation is exact for linear functions."""
    pyramid = FeaturePyramid(3, (4,), channels=1, width=4, depth=1, extent=1.0)
    axis = torch.linspace(-1, 1, 5)
    vertices = torch.cartesian_prod(axis, axis, axis)
    slope = torch.tensor([1.0, -2.0, 0.5])
    pyramid.table.data = (vertices @ slope)[:, None]
    points = torch.rand(50, 3) * 2 - 1
    features = pyramid._features(points)[..., 0]
    assert torch.allclose(features[:, 0], points @ slope, atol=1e-6)
    assert torch.allclose(features[:, 1:], slope.expand(50, 3), atol=1e-5)


def test_loss_decrease_along_row_and_network_gradients(pyramid: FeaturePyramid) -> None:
    """A small step decreases the loss by the squared gradient norm."""
    points = torch.rand(100, pyramid.dim) * 2 - 1

    def loss() -> torch.Tensor:
        found = jet(pyramid, points)
        return surface_term(found.distance) + eikonal_term(found.gradient)

    before = loss()
    before.backward()
    rows, values = pyramid.pop_row_gradients()
    weight = pyramid.network[0].weight
    assert weight.grad is not None
    expected = 1e-4 * (values.square().sum() + weight.grad.square().sum())
    with torch.no_grad():
        pyramid.table[rows] -= 1e-4 * values
        weight -= 1e-4 * weight.grad
    assert (before - loss()).item() == pytest.approx(expected.item(), rel=0.1)
