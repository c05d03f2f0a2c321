"""Cost, prior and normal equations of inversion against closed forms and differences."""

import pytest
import torch
from helpers.models import small_latent_model
from helpers.settings import SMALL_MODEL

from latentsdf.latent.inversion.gauss_newton import PLACEMENT_SIZE, Samples, Solver, _FitProblems
from latentsdf.latent.prior import CodePrior


def test_prior_of_codes_by_layer() -> None:
    """The precision matrix gives |mean|^2 plus the squared distances of the codes from their mean."""
    torch.manual_seed(0)
    prior = CodePrior.fit(torch.randn(30, 4))
    by_layer, motion = torch.randn(3, 4), torch.randn(PLACEMENT_SIZE)
    solver = Solver(small_latent_model("film"), prior, 0.3, torch.ones(PLACEMENT_SIZE), layers=3)
    mean = by_layer.mean(0)
    wanted = 0.3 * mean.square().sum() + 0.3 * (by_layer - mean).square().sum() + 0.3 * motion.square().sum()
    vector = torch.cat((by_layer.flatten(), motion))
    assert float(vector @ solver.precision @ vector) == pytest.approx(float(wanted), rel=1e-5)
    torch.testing.assert_close(solver.codes(by_layer.flatten()[None])[0], prior.decode(by_layer))


@pytest.mark.slow
@pytest.mark.parametrize("by_layer", [False, True])
def test_gradient_matches_differences(by_layer: bool) -> None:
    """The gradient equals central differences of the cost, also where the Jacobian in H is an earlier one."""
    model = small_latent_model("hyper").double()
    torch.manual_seed(1)
    prior = CodePrior.fit(torch.randn(30, SMALL_MODEL.code_dim, dtype=torch.float64))
    layers = len(model.conditioned_layers()) if by_layer else 1
    spread = torch.tensor([0.2, 0.3, 0.1, 0.1, 0.1], dtype=torch.float64)
    solver = Solver(model, prior, 0.01, spread, layers=layers)
    points = torch.rand(1, 400, 3, dtype=torch.float64) * 1.6 - 0.8
    middle = 0.1 * torch.randn(1, 400, dtype=torch.float64)
    samples = Samples.truncated(points, middle - 0.01, middle + 0.01, middle.abs() < 0.05)
    origin = torch.tensor([[0.1, 0.5, 0.0, 0.1, 0.0]], dtype=torch.float64)
    vector = 0.3 * torch.randn(1, layers * SMALL_MODEL.code_dim + PLACEMENT_SIZE, dtype=torch.float64)
    problems, rows = _FitProblems(solver, origin, samples, vector[:, :0]), torch.tensor([0])
    elsewhere = vector + 0.2 * torch.randn_like(vector)
    earlier, _ = problems.normal_equations(elsewhere, rows, torch.tensor([True]))
    hessian, slope = problems.normal_equations(vector, rows, torch.tensor([False]))
    exact_hessian, exact_slope = problems.normal_equations(vector, rows, torch.tensor([True]))
    torch.testing.assert_close(slope, exact_slope)  # also with the Jacobian of another place
    assert not torch.allclose(hessian, exact_hessian, rtol=1e-3) and not torch.allclose(hessian, earlier, rtol=1e-3)
    step = 1e-6
    for i in range(vector.shape[1]):
        offset = torch.zeros_like(vector)
        offset[0, i] = step
        up, down = (problems.cost(vector + sign * offset, rows) for sign in (1, -1))
        assert abs(float(up - down) / (2 * step) - float(slope[0, i])) < 0.02 * float(slope.abs().max())
