"""Loss terms of single-shape fields against closed forms and explicit Hessians."""

import math

import numpy as np
import pytest
import torch

from latentsdf.config.schedules import schedule_value
from latentsdf.config.training import LossConfig
from latentsdf.models.derivatives import jet, laplacian
from latentsdf.models.siren import SineNetwork
from latentsdf.training.losses.first_order import (
    eikonal_squared_term,
    normal_term,
    off_surface_term,
    sign_agnostic_normal_term,
    sign_agnostic_term,
    surface_term,
)
from latentsdf.training.losses.medial_axis import (
    ambrosio_tortorelli_term,
    density_weights,
    expansion_term,
    recovery_profile,
    scaled_eikonal_term,
    second_order_term,
    weighted_surface_term,
)
from latentsdf.training.losses.second_order import directional_divergence_term, laplacian_term, singular_hessian_term
from latentsdf.utils.errors import ConfigError


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


def test_surface_and_off_surface_terms_match_closed_form() -> None:
    """Terms equal their formulas on two distances."""
    distance = torch.tensor([0.1, -0.3])
    assert math.isclose(surface_term(distance).item(), 0.2, rel_tol=1e-6)
    expected = (math.exp(-1) + math.exp(-3)) / 2
    assert math.isclose(off_surface_term(distance, 10.0).item(), expected, rel_tol=1e-6)
    assert sign_agnostic_term(distance, torch.tensor([0.1, 0.3])) == 0
    assert math.isclose(sign_agnostic_term(distance, torch.tensor([0.2, 0.1])).item(), 0.15, rel_tol=1e-6)


def test_sign_dependence_of_normal_terms() -> None:
    """Oriented terms penalize a flipped normal; the sign-agnostic one does not."""
    up = torch.tensor([[0.0, 0.0, 1.0]])
    for term in (lambda g: normal_term(g, up), lambda g: normal_term(g, up, cosine=True)):
        assert term(up) == 0 and term(-up) == 2
    assert sign_agnostic_normal_term(-up, up) == 0
    assert math.isclose(normal_term(2 * up, up).item(), 1.0)
    assert normal_term(2 * up, up, cosine=True) == 0


def test_convergence_of_linear_field_to_plane() -> None:
    """Plane reproduction (Gropp et al. 2020): w converges to plus or minus the normal."""
    torch.manual_seed(0)
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -2.0]), dim=0)
    cloud = torch.randn(200, 3)
    cloud -= (cloud @ normal)[:, None] * normal
    for _ in range(3):
        slope = torch.randn(3, requires_grad=True)
        optimizer = torch.optim.Adam([slope], lr=0.02)
        for step in range(800):
            optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 800)
            found = jet(lambda x, w=slope: x @ w, cloud)  # type: ignore[misc]
            loss = surface_term(found.distance) + 0.1 * eikonal_squared_term(found.gradient)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert min((slope - normal).norm(), (slope + normal).norm()) < 0.05


def test_ambrosio_tortorelli_energy_of_axis() -> None:
    """The recovery profile of a single point has energy 1."""
    axis = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    volume = torch.full_like(axis, 2 / len(axis))
    for width in (0.05, 0.01):
        phase = recovery_profile(axis.abs(), 0.0, width)
        slope = torch.exp(-axis.abs() / (2 * width)) / (2 * width)
        cost = ambrosio_tortorelli_term(phase, slope[:, None], volume, width)
        assert math.isclose(cost.item(), 1.0, rel_tol=1e-3)
    assert recovery_profile(torch.tensor([0.0, 0.1]), 0.1, 0.01).tolist() == [0, 0]


def test_masking_of_gradient_jump_by_phase_field() -> None:
    """The second-order term is 1000 times smaller where v = 0 at the kink."""
    points = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    volume = torch.full((2001,), 1e-3, dtype=torch.float64)
    smooth = jet(lambda x: (x.square() + 1e-4).sqrt().squeeze(-1), points)
    everywhere = second_order_term(smooth, torch.ones(2001), volume)
    phase = recovery_profile(points.squeeze(-1).abs(), 0.05, 1e-3)
    assert everywhere > 10
    assert second_order_term(smooth, phase, volume) < 1e-3 * everywhere


def test_scaled_medial_terms_match_closed_form() -> None:
    """Scaled eikonal, expansion and surface terms equal their formulas."""
    volume = torch.full((4,), 0.5)
    assert math.isclose(scaled_eikonal_term(torch.tensor([[2.0, 0.0]]).expand(4, 2), volume, 0.1).item(), 180.0)
    assert math.isclose(expansion_term(torch.zeros(4), volume).item(), 6.0)
    expected = 2 * (math.exp(-10) + math.exp(-1) + math.exp(-0.01))
    assert math.isclose(expansion_term(torch.full((4,), -0.1), volume).item(), expected, rel_tol=1e-5)
    weights = torch.tensor([0.25, 0.75])
    assert math.isclose(weighted_surface_term(torch.tensor([0.2, 0.1]), weights, 0.1).item(), 1.75, rel_tol=1e-5)


def test_density_weights_with_outlier() -> None:
    """An outlier gets no dominant weight and changes the others little."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 20_000)
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    alone, with_stray = density_weights(circle), density_weights(np.concatenate((circle, [[3.0, 3.0]])))
    assert with_stray[-1] <= 1.01 * alone.max()
    assert np.abs(with_stray[:-1] - alone).mean() < 0.15 * alone.mean()  # because the balls have another size


def test_density_weights_of_uneven_sampling() -> None:
    """Both halves of an unevenly sampled circle have total weight one half."""
    rng = np.random.default_rng(0)
    angle = np.concatenate((rng.uniform(0, math.pi, 4000), rng.uniform(math.pi, 2 * math.pi, 1000)))
    weights = density_weights(np.stack((np.cos(angle), np.sin(angle)), axis=1))
    assert math.isclose(weights.sum(), 1.0)
    assert abs(weights[:4000].sum() - 0.5) < 0.02


def test_linear_interpolation_between_knots() -> None:
    """Values between knots are interpolated, and a configuration refuses malformed schedules."""
    assert [schedule_value((20, 0.8, 20, 0.1), t) for t in (0.0, 0.5, 0.9, 1.0)] == pytest.approx([20, 20, 10.05, 0.1])
    assert [schedule_value((8, 1), t) for t in (0.0, 0.5, 1.0)] == pytest.approx([8, 4.5, 1])
    assert schedule_value((3,), 0.7) == 3
    for wrong in ((1, 0.5, 2), (1, 0.8, 2, 0.3, 4, 5)):
        with pytest.raises(ConfigError, match="times rising"):
            LossConfig(code=wrong)
