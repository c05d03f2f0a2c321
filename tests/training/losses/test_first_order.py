"""First-order terms against closed forms."""

import math

import pytest
import torch

from latentsdf.models.derivatives import gradient, jet
from latentsdf.training.losses.first_order import (
    eikonal_squared_term,
    eikonal_term,
    heat_term,
    normal_term,
    off_surface_term,
    sign_agnostic_normal_term,
    sign_agnostic_term,
    surface_term,
)


def test_eikonal_term_of_scaled_sphere_distance() -> None:
    """The eikonal term is 0 for the distance of a sphere and 1 for twice that distance."""
    points = torch.randn(2, 50, 3)
    assert eikonal_term(gradient(lambda x: x.norm(dim=-1) - 0.5, points)) < 1e-5
    doubled = eikonal_term(gradient(lambda x: 2 * x.norm(dim=-1) - 0.5, points))
    assert math.isclose(doubled.item(), 1.0, rel_tol=1e-5)


def test_unbiased_heat_term_under_mixture() -> None:
    """Uniform points and points of a mixture estimate the same heat energy."""
    generator = torch.Generator().manual_seed(0)
    absorption, std, count = 4.0, 0.4, 400_000
    uniform = torch.rand(count, 3, generator=generator) * 2 - 1
    normal = torch.randn(count, 3, generator=generator) * std
    inside = normal[(normal.abs() <= 1).all(1)]

    def energy(points: torch.Tensor, density: torch.Tensor | float) -> torch.Tensor:
        distance = points.norm(dim=1) - 0.5
        return heat_term(distance, points / points.norm(dim=1, keepdim=True), absorption, density)

    box = energy(uniform, 1 / 8)
    points = torch.cat((uniform, inside))
    share = count / len(points)
    kept = math.erf(1 / (std * math.sqrt(2))) ** 3
    gaussian = torch.exp(-points.square().sum(1) / (2 * std**2)) / ((2 * math.pi) ** 1.5 * std**3) / kept
    mixture = energy(points, share / 8 + (1 - share) * gaussian)
    assert math.isclose(box.item(), mixture.item(), rel_tol=0.01)


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


@pytest.mark.slow
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
