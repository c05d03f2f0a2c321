"""Second-order terms against closed forms and explicit Hessians."""

import math

import pytest
import torch

from latentsdf.models.derivatives import jet, laplacian
from latentsdf.models.siren import SineNetwork
from latentsdf.training.losses.second_order import directional_divergence_term, laplacian_term, singular_hessian_term


@pytest.fixture(params=[2, 3])
def network(request: pytest.FixtureRequest) -> SineNetwork:
    """A quadratic sine network in 2D and 3D, in float64."""
    torch.manual_seed(0)
    return SineNetwork(request.param, 32, 3, start="siren", quadratic=True).double()


def _points(dim: int, count: int = 64) -> torch.Tensor:
    """Uniform random points of the box, in float64."""
    return torch.rand(count, dim, dtype=torch.float64) * 2 - 1


def test_second_order_gradient_matches_finite_difference(network: SineNetwork) -> None:
    """A small parameter step changes the directional divergence by its gradient."""
    dim = network.layers[0].linear.in_features
    loss = directional_divergence_term(jet(network, _points(dim)))
    loss.backward()
    weight = network.layers[1].linear.weight
    assert weight.grad is not None
    step = 1e-6 * weight.grad / weight.grad.norm()
    torch.manual_seed(1)
    points = _points(dim)
    before = directional_divergence_term(jet(network, points))
    (slope,) = torch.autograd.grad(before, weight)
    with torch.no_grad():
        weight += step
    after = directional_divergence_term(jet(network, points))
    assert math.isclose((after - before).item(), (slope * step).sum().item(), rel_tol=1e-3)


@pytest.mark.parametrize("dim", [2, 3])
def test_second_order_terms_of_sphere_match_closed_form(dim: int) -> None:
    """The Laplacian is (d - 1) / |x|, and terms along the gradient vanish."""
    points = 0.5 + torch.rand(50, dim, dtype=torch.float64)
    found = jet(lambda x: x.norm(dim=-1) - 0.4, points)
    assert torch.allclose(laplacian(found), (dim - 1) / points.norm(dim=1))
    assert directional_divergence_term(found) < 1e-9
    assert singular_hessian_term(found) < 1e-9
    assert math.isclose(laplacian_term(found).item(), ((dim - 1) / points.norm(dim=1)).mean().item())


def test_second_order_terms_of_quadratic_match_closed_form() -> None:
    """Terms equal hand-computed values and the Laplacian term is clamped to [0.1, 50]."""
    found = jet(lambda x: 0.5 * (x[:, 0] ** 2 + 3 * x[:, 1] ** 2), torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
    # gradients (1, 3) and (2, 0), Hessian diag(1, 3): g.Hg = 28 and 4 over |g|^2 = 10 and 4
    assert math.isclose(directional_divergence_term(found).item(), (2.8 + 1) / 2, rel_tol=1e-4)
    assert math.isclose(singular_hessian_term(found).item(), 3.0, rel_tol=1e-6)
    steep = jet(lambda x: 100 * x.square().sum(-1), torch.ones(3, 2))
    flat = jet(lambda x: x.sum(-1) + 0 * x.square().sum(-1), torch.ones(3, 2))
    assert laplacian_term(steep) == 50 and math.isclose(laplacian_term(flat).item(), 0.1, rel_tol=1e-6)
