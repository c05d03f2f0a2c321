"""Levenberg-Marquardt minimization of K independent problems in one batch.

With the Gauss-Newton approximation H (D, D) of the Hessian of a cost E and its gradient g (D,) at the parameters v, a
trial step solves

    (H + lambda (diag(H) + mean(diag(H)) I)) d = -g

The mean of the diagonal limits the step in directions in which the cost is flat. A step with E(v + d) < E(v) is
accepted and divides the damping lambda by 4; any other is rejected and multiplies it by 5. H and g are computed again
only after an accepted step. A problem ends when an accepted step lowers its cost by less than a given share, or when
the damping exceeds its limit, which means that no step lowers the cost at the precision of the arithmetic.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

_INITIAL_DAMPING = 1e-2


@runtime_checkable
class LeastSquares(Protocol):
    """K least-squares problems in D parameters each. `rows` (k,) selects the problems of the given parameters."""

    def cost(self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Cost E of each problem. Its dtype is the one in which costs and damping are kept."""

    def normal_equations(
        self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"]
    ) -> tuple[Float[Tensor, "k D D"], Float[Tensor, "k D"]]:
        """Gauss-Newton approximation H (k, D, D) of the Hessian, and gradient g (k, D), up to one common factor."""


def minimize(
    problems: LeastSquares,
    parameters: Float[Tensor, "K D"],
    cost: Float[Tensor, " K"],
    *,
    max_trials: int,
    max_accepted: int | None = None,
    tolerance: float,
    max_damping: float,
    on_trial: Callable[[], None] = lambda: None,
) -> tuple[Float[Tensor, "K D"], list[Float[Tensor, " K"]]]:
    """Minimize the cost of each problem.

    Args:
        problems: Cost and normal equations.
        parameters: Initial parameters (K, D).
        cost: Cost (K,) of the initial parameters.
        max_trials: Maximum number of trial steps, accepted or rejected.
        max_accepted: Maximum number of accepted steps of one problem; None for no limit.
        tolerance: A problem ends after an accepted step that lowers its cost by less than this share.
        max_damping: A problem ends when its damping exceeds this value.
        on_trial: Called after each trial step of the batch.

    Returns:
        Parameters (K, D), and the costs (K,) before the first and after each trial step.
    """
    parameters, cost = parameters.clone(), cost.clone()
    history = [cost.clone()]
    damping = torch.full_like(cost, _INITIAL_DAMPING)
    accepted = torch.zeros_like(cost, dtype=torch.long)
    hessian = parameters.new_zeros(*parameters.shape, parameters.shape[1])
    gradient = torch.zeros_like(parameters)
    active = torch.arange(len(cost), device=cost.device)
    moved = active  # active problems whose normal equations are outdated
    for _ in range(max_trials):
        if len(moved):
            hessian[moved], gradient[moved] = problems.normal_equations(parameters[moved], moved)
        diagonal = hessian[active].diagonal(dim1=1, dim2=2)
        scale = diagonal + diagonal.mean(1, keepdim=True)
        system = hessian[active] + torch.diag_embed(damping[active, None].to(scale) * scale)
        trial = parameters[active] - _solve(system, gradient[active])
        trial_cost = problems.cost(trial, active)
        better = trial_cost < cost[active]
        gain = (cost[active] - trial_cost) / cost[active]
        moved = active[better]
        parameters[moved], cost[moved] = trial[better], trial_cost[better]
        accepted[moved] += 1
        damping[active] = torch.where(better, damping[active] / 4, damping[active] * 5)
        history.append(cost.clone())
        on_trial()
        done = (better & (gain < tolerance)) | (damping[active] > max_damping)
        if max_accepted is not None:
            done |= accepted[active] >= max_accepted
        moved, active = moved[~done[better]], active[~done]
        if not len(active):
            break
    return parameters, history


def _solve(system: Float[Tensor, "k D D"], right: Float[Tensor, "k D"]) -> Float[Tensor, "k D"]:
    """Solve symmetric systems, which are positive definite up to rounding."""
    factor, failed = torch.linalg.cholesky_ex(system)
    if failed.any():
        return torch.linalg.solve(system, right)
    return torch.cholesky_solve(right[..., None], factor)[..., 0]
