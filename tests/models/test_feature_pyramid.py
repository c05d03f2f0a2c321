"""The feature pyramid and the hash grid against torch operations, a plain hash and finite differences."""

from itertools import product

import numpy as np
import pytest
import torch

from latentsdf.models.derivatives import jet
from latentsdf.models.feature_pyramid import FeaturePyramid, growing_resolutions
from latentsdf.training.losses.first_order import eikonal_term, surface_term


@pytest.fixture(params=[(2, None), (3, None), (2, 32), (3, 64)], ids=["2D", "3D", "2D hashed", "3D hashed"])
def pyramid(request: pytest.FixtureRequest) -> FeaturePyramid:
    """Three levels with random features, in 2D and 3D; if hashed, the first level is dense and the last one is not."""
    torch.manual_seed(0)
    dim, max_rows = request.param
    made = FeaturePyramid(dim, (2, 5, 9), channels=3, width=16, depth=2, extent=1.2, max_rows=max_rows)
    torch.nn.init.normal_(made.table, 0, 0.3)
    return made


@pytest.mark.parametrize("dim", [2, 3])
def test_hashed_rows(dim: int) -> None:
    """A vertex of a hashed level has the features of the row of the published hash, of a dense level its own row."""
    extent, resolutions, rows = 1.5, (3, 40), 128
    grid = FeaturePyramid(dim, resolutions, channels=1, width=4, depth=1, extent=extent, max_rows=rows)
    dense = 4**dim
    assert len(grid.table) == dense + rows
    assert grid.table.abs().max() <= 1e-4
    grid.table.data = torch.arange(float(len(grid.table)))[:, None]
    for level, resolution in enumerate(resolutions):
        vertices = np.array(list(product(range(resolution + 1), repeat=dim)), dtype=np.uint32)
        vertices = np.random.default_rng(0).permutation(vertices)[:1500]
        points = torch.from_numpy((2.0 * vertices / resolution - 1) * extent).float()
        if level == 0:
            expected = np.ravel_multi_index(tuple(vertices.T), (resolution + 1,) * dim)
        else:
            # 32-bit products wrap around, as in the release.
            products = vertices * np.array([1, 2654435761, 805459861], dtype=np.uint32)[:dim]
            expected = dense + np.bitwise_xor.reduce(products, axis=1) % rows
            assert len(np.unique(expected)) == rows
        for features in (grid._features(points, derivatives=False)[:, 0], grid.features_reference(points)[:, 0]):
            np.testing.assert_allclose(features[:, level].detach(), expected, atol=0.01)


def test_growing_resolutions() -> None:
    """Resolutions grow by a constant factor, rounded down; the last is the finest."""
    assert growing_resolutions(5, 4, 64) == (4, 8, 16, 32, 64)
    published = growing_resolutions(16, 16, 2048)
    assert published[0] == 16 and published[-1] == 2048 and len(published) == 16
    factor = 1.3819  # as printed by the release
    assert all(abs(found - 16 * factor**level) < 1.5 for level, found in enumerate(published))
    assert growing_resolutions(1, 7, 100) == (7,)


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


def test_forward_gradient(pyramid: FeaturePyramid) -> None:
    """`forward` has the gradient of `jet` in the points, which is differentiable in the features."""
    points = (torch.rand(100, pyramid.dim) * 2 - 1).requires_grad_()
    distance = pyramid(points)
    (slope,) = torch.autograd.grad(distance.sum(), points, create_graph=True)
    found = jet(pyramid, points)
    torch.testing.assert_close(distance, found.distance)
    torch.testing.assert_close(slope, found.gradient, atol=1e-5, rtol=1e-4)
    gradients = []
    for gradient in (slope, found.gradient):
        eikonal_term(gradient).backward()
        gradients.append(pyramid.pop_row_gradients())
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-5, rtol=1e-3)


def test_eikonal_gradient_of_features(pyramid: FeaturePyramid) -> None:
    """In float64, the gradient of the eikonal loss by each feature equals a difference quotient."""
    pyramid = pyramid.double()
    points = torch.rand(40, pyramid.dim, dtype=torch.float64) * 2 - 1

    def loss() -> torch.Tensor:
        return (jet(pyramid, points).gradient.square().sum(1) - 1).square().mean()

    loss().backward()
    rows, gradients = pyramid.pop_row_gradients()
    chosen = gradients.abs().amax(1).topk(5).indices
    for row, gradient in zip(rows[chosen].tolist(), gradients[chosen], strict=True):
        for channel in range(3):
            values = []
            for step in (1e-5, -1e-5):
                pyramid.table.data[row, channel] += step
                values.append(loss().item())
                pyramid.table.data[row, channel] -= step
            assert (values[0] - values[1]) / 2e-5 == pytest.approx(gradient[channel].item(), rel=1e-4, abs=1e-6)
