"""First and second derivatives against the explicit Hessian and closed forms."""

import pytest
import torch

from latentsdf.models.derivatives import Jet, gradient, hessian, hessian_along_gradient, jet, laplacian, norm
from latentsdf.models.siren import SineNetwork
from latentsdf.training.losses.second_order import directional_divergence_term, singular_hessian_term


@pytest.fixture(params=[2, 3])
def network(request: pytest.FixtureRequest) -> SineNetwork:
    """A quadratic sine network in 2D and 3D, in float64."""
    torch.manual_seed(0)
    return SineNetwork(request.param, 32, 3, start="siren", quadratic=True).double()


def _points(dim: int, count: int = 64) -> torch.Tensor:
    """Uniform random points of the box, in float64."""
    return torch.rand(count, dim, dtype=torch.float64) * 2 - 1


def test_derivatives_match_explicit_hessian(network: SineNetwork) -> None:
    """Hessian, Hessian times gradient, Laplacian and the loss terms built on them equal vmapped Hessians."""
    dim = network.layers[0].linear.in_features
    points = _points(dim)
    found = jet(network, points)
    reference = torch.func.vmap(torch.func.hessian(lambda x: network(x[None])[0]))(points)
    along = (reference @ found.gradient[..., None]).squeeze(-1)
    assert torch.allclose(hessian(found), reference, atol=1e-9)
    assert torch.allclose(hessian_along_gradient(found), along, atol=1e-9)
    assert torch.allclose(laplacian(found), reference.diagonal(dim1=1, dim2=2).sum(1), atol=1e-9)
    squared = found.gradient.square().sum(1)
    bending = (found.gradient * along).sum(1).abs() / (squared + 1e-5)
    assert torch.isclose(directional_divergence_term(found), bending.mean())
    assert torch.isclose(singular_hessian_term(found), torch.linalg.det(reference).abs().mean())


@pytest.mark.parametrize("dim", [2, 3])
def test_sphere_derivatives_match_closed_form(dim: int) -> None:
    """The gradient is x / |x|, the Laplacian (d - 1) / |x|, and H grad u = 0."""
    points = 0.5 + torch.rand(50, dim, dtype=torch.float64)
    found = jet(lambda x: x.norm(dim=-1) - 0.4, points)
    torch.testing.assert_close(found.gradient, points / points.norm(dim=1, keepdim=True))
    torch.testing.assert_close(laplacian(found), (dim - 1) / points.norm(dim=1))
    assert hessian_along_gradient(found).abs().max() < 1e-9


def test_function_transform_gradient_matches_jet() -> None:
    """`gradient` of a batch of shapes equals the jet's gradient of the flattened points."""
    points = torch.rand(2, 5, 3, dtype=torch.float64)
    found = jet(lambda x: (x**3).sum(-1), points.flatten(0, 1))
    torch.testing.assert_close(gradient(lambda x: (x**3).sum(-1), points).flatten(0, 1), found.gradient)


def test_jet_slices_and_custom_jets() -> None:
    """Slicing selects points, and the `jet` method of a field is used if it has one."""

    class Constant:
        def __call__(self, _: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the field's own jet must be used")

        def jet(self, points: torch.Tensor) -> Jet:
            return Jet(points, torch.ones(len(points)), torch.zeros_like(points))

    found = jet(Constant(), torch.rand(6, 3))[2:5]
    assert found.points.shape == found.gradient.shape == (3, 3) and (found.distance == 1).all()


def test_norm_at_zero() -> None:
    """The norm has its usual derivatives away from zero, all of them 0 at zero, and no overflow in float32."""
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = norm(vectors)
    (first,) = torch.autograd.grad(found.sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), vectors)
    torch.testing.assert_close(found.detach(), torch.tensor([5.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(first.detach(), torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=torch.float64))
    expected = torch.tensor([[0.128, -0.096], [0.0, 0.0]], dtype=torch.float64)  # (1 - n n^T) / |v|, first row
    torch.testing.assert_close(second, expected)
    assert norm(torch.tensor([[1e30, 0.0]])) == 1e30
