"""Levenberg-Marquardt minimization of K independent problems in one batch.

With the Gauss-Newton approximation H (D, D) of the Hessian of a cost E and its gradient g (D,) at the parameters v, a
trial step solves

    (H + lambda (diag(H) + mean(diag(H)) I)) d = -g

The mean of the diagonal limits the step in directions in which the cost is flat. A step with E(v + d) < E(v) is
accepted and divides the damping lambda by 4; any other is rejected and multiplies it by 5. A problem ends when an
accepted step lowers its cost by less than a given share, or when the damping exceeds its limit, which means that no
step lowers the cost at the precision of the arithmetic.

H and g are computed again only after an accepted step. A problem whose Jacobian is expensive may use it again for a few
of them, with the current gradient (Shamanskii's method; Fan 2012, "The modified Levenberg-Marquardt method for
nonlinear equations with cubic convergence"). If such a step is rejected, or lowers the cost too little, the Jacobian is
computed for the next one.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_INITIAL_DAMPING = 1e-2


@runtime_checkable
class LeastSquares(Protocol):
    """K least-squares problems in D parameters each. `rows` (k,) selects the problems of the given parameters."""

    def cost(self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Cost E of each problem. Its dtype is the one in which costs and damping are kept."""

    def normal_equations(
        self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"], exact: Bool[Tensor, " k"]
    ) -> tuple[Float[Tensor, "k D D"], Float[Tensor, "k D"]]:
        """Gauss-Newton approximation H (k, D, D) of the Hessian, and gradient g (k, D), up to one common factor.

        Where `exact` is False, H may be computed from the Jacobian of the last call for that problem.
        """


def minimize(
    problems: LeastSquares,
    parameters: Float[Tensor, "K D"],
    cost: Float[Tensor, " K"],
    *,
    max_trials: int,
    max_accepted: int | None = None,
    tolerance: float,
    max_damping: float,
    jacobian_reuses: int = 0,
    on_trial: Callable[[], None] = lambda: None,
) -> tuple[Float[Tensor, "K D"], list[Float[Tensor, " K"]]]:
    """Minimize the cost of each problem.

    Args:
        problems: Cost and normal equations.
        parameters: Initial parameters (K, D).
        cost: Cost (K,) of the initial parameters.
        max_trials: Maximum number of trial steps, accepted or rejected.
        max_accepted: Maximum number of accepted steps of one problem; None for no limit.
        tolerance: A problem ends after an accepted step, with the current Jacobian, that lowers its cost by less than
            this share.
        max_damping: A problem ends when its damping exceeds this value.
        jacobian_reuses: Number of accepted steps for which a Jacobian may be used again.
        on_trial: Called after each trial step of the batch.

    Returns:
        Parameters (K, D), and the costs (K,) before the first and after each trial step.
    """
    parameters, cost = parameters.clone(), cost.clone()
    history = [cost.clone()]
    damping = torch.full_like(cost, _INITIAL_DAMPING)
    accepted = torch.zeros_like(cost, dtype=torch.long)
    uses = torch.full_like(accepted, jacobian_reuses)  # how often the last Jacobian has been used again
    hessian = parameters.new_zeros(*parameters.shape, parameters.shape[1])
    gradient = torch.zeros_like(parameters)
    active = torch.arange(len(cost), device=cost.device)
    outdated = active  # active problems whose normal equations are to be computed
    for _ in range(max_trials):
        if len(outdated):
            exact = uses[outdated] >= jacobian_reuses
            hessian[outdated], gradient[outdated] = problems.normal_equations(parameters[outdated], outdated, exact)
            uses[outdated] = torch.where(exact, 0, uses[outdated] + 1)
        diagonal = hessian[active].diagonal(dim1=1, dim2=2)
        scale = diagonal + diagonal.mean(1, keepdim=True)
        system = hessian[active] + torch.diag_embed(damping[active, None].to(scale) * scale)
        trial = parameters[active] - _solve(system, gradient[active])
        trial_cost = problems.cost(trial, active)
        better = trial_cost < cost[active]
        is_small = (cost[active] - trial_cost) / cost[active] < tolerance
        reused = uses[active] > 0
        repeated = ~better & reused
        moved = active[better]
        parameters[moved], cost[moved] = trial[better], trial_cost[better]
        accepted[moved] += 1
        raised = torch.where(repeated, damping[active], damping[active] * 5)
        damping[active] = torch.where(better, damping[active] / 4, raised)
        uses[active[reused & is_small]] = jacobian_reuses
        history.append(cost.clone())
        on_trial()
        done = (better & is_small & ~reused) | (damping[active] > max_damping)
        if max_accepted is not None:
            done |= accepted[active] >= max_accepted
        outdated, active = active[(better | repeated) & ~done], active[~done]
        if not len(active):
            break
    return parameters, history


def _solve(system: Float[Tensor, "k D D"], right: Float[Tensor, "k D"]) -> Float[Tensor, "k D"]:
    """Solve symmetric systems, which are positive definite up to rounding."""
    factor, failed = torch.linalg.cholesky_ex(system)
    if failed.any():
        return torch.linalg.solve(system, right)
    return torch.cholesky_solve(right[..., None], factor)[..., 0]
