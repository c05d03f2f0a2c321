"""Levenberg-Marquardt on problems with known minima."""

import torch
from torch import Tensor

from latentsdf.latent.levenberg_marquardt import minimize


class Rosenbrock:
    """K problems with residuals (10 (y - x^2), a - x) and minima at (a, a^2)."""

    def __init__(self, minima: Tensor) -> None:
        self.minima = minima
        self.linearizations = 0
        self.jacobians = 0
        self._known = torch.zeros(len(minima), 2, 2, dtype=minima.dtype)

    def _residuals(self, parameters: Tensor, rows: Tensor) -> Tensor:
        x, y = parameters.unbind(1)
        return torch.stack((10 * (y - x**2), self.minima[rows] - x), dim=1)

    def cost(self, parameters: Tensor, rows: Tensor) -> Tensor:
        """Half the squared residuals (k,)."""
        return self._residuals(parameters, rows).square().sum(1) / 2

    def normal_equations(self, parameters: Tensor, rows: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
        """J^T J (k, 2, 2), with an earlier J where not `exact`, and J^T r (k, 2)."""
        self.linearizations += len(rows)
        self.jacobians += int(exact.sum())
        x = parameters[:, 0]
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        jacobian = torch.stack((torch.stack((-20 * x, 10 * one), 1), torch.stack((-one, zero), 1)), dim=1)
        self._known[rows[exact]] = jacobian[exact]
        residuals = self._residuals(parameters, rows)
        return self._known[rows].mT @ self._known[rows], (jacobian * residuals[..., None]).sum(1)


MINIMA = torch.tensor([1.0, 0.5, -2.0], dtype=torch.float64)
START = torch.tensor([[-1.2, 1.0], [3.0, -1.0], [0.0, 4.0]], dtype=torch.float64)


def _minimize(problems: Rosenbrock, start: Tensor, **changes: float) -> tuple[Tensor, list[Tensor]]:
    options = {"max_trials": 200, "tolerance": 0.0, "max_damping": 1e8} | changes
    cost = problems.cost(start, torch.arange(len(start)))
    return minimize(problems, start, cost, **options)  # type: ignore[arg-type]


def test_minima_of_batch() -> None:
    """Every problem of a batch reaches its minimum, with costs that never rise."""
    found, history = _minimize(Rosenbrock(MINIMA), START)
    torch.testing.assert_close(found, torch.stack((MINIMA, MINIMA**2), dim=1), atol=1e-6, rtol=0)
    assert (torch.stack(history).diff(dim=0) <= 0).all()


def test_reused_jacobians() -> None:
    """With earlier Jacobians, the same minima are reached with fewer of them, and costs never rise."""
    always, often = Rosenbrock(MINIMA), Rosenbrock(MINIMA)
    _minimize(always, START)
    found, history = _minimize(often, START, jacobian_reuses=2)
    torch.testing.assert_close(found, torch.stack((MINIMA, MINIMA**2), dim=1), atol=1e-6, rtol=0)
    assert (torch.stack(history).diff(dim=0) <= 0).all()
    assert always.jacobians == always.linearizations and often.jacobians < always.jacobians


def test_small_gain_with_reused_jacobian() -> None:
    """A step with an earlier Jacobian that lowers the cost by less than the tolerance does not end a problem."""
    problem = Rosenbrock(MINIMA[:1])
    _minimize(problem, START[:1], tolerance=0.5, jacobian_reuses=5)
    assert problem.jacobians >= 2


def test_batch_equals_single_problems() -> None:
    """A problem takes the same steps alone as in a batch."""
    together, _ = _minimize(Rosenbrock(MINIMA), START)
    for i in range(3):
        alone, _ = _minimize(Rosenbrock(MINIMA[i : i + 1]), START[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-9, rtol=0)


def test_limits() -> None:
    """Trials and accepted steps are counted, and rejected steps do not linearize again."""
    trials = []
    cost = Rosenbrock(MINIMA).cost(START, torch.arange(3))
    options = {"max_trials": 5, "tolerance": 0.0, "max_damping": 1e8}
    _, history = minimize(Rosenbrock(MINIMA), START, cost, on_trial=lambda: trials.append(1), **options)  # type: ignore[arg-type]
    assert len(trials) == 5 and len(history) == 6
    problem = Rosenbrock(MINIMA[:1])
    _, history = _minimize(problem, START[:1], max_accepted=3)
    falls = int((torch.stack(history).diff(dim=0) < 0).sum())
    assert falls == 3 and problem.linearizations == 3
    _, history = _minimize(Rosenbrock(MINIMA[:1]), START[:1], tolerance=1.0)
    assert int((torch.stack(history).diff(dim=0) < 0).sum()) == 1


def test_damping_limit_at_minimum() -> None:
    """Started at its minimum, a problem ends when no damping lowers the cost, and stays there."""
    start = torch.stack((MINIMA, MINIMA**2), dim=1)
    found, history = _minimize(Rosenbrock(MINIMA), start)
    assert torch.equal(found, start) and len(history) < 30
