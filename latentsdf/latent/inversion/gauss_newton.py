"""Fitting of codes, and optionally placements, to bounds on the signed distance; the model is frozen.

Symbols, for one fit with P samples x_i in model space and bounds [a_i, b_i] on their signed distances:

    p = (p0, ..., p4)              placement of the shape
    y_i = exp(p0) R(p1) x_i + (p2, p3, p4)
                                   sample in the frame of the code; R rotates about y by p1
    s_i = s(y_i, z) / exp(p0)      predicted distance, of the general branch s_g or of the overfit branch s_o
    r_i = s_i - clip(s_i, a_i, b_i)
                                   residual: signed excess over the bounds, clipped to +-0.2
    rho(r) = sqrt(r^2 + e^2) - e   Charbonnier loss, |r| with a smooth minimum; e = 0.002

The cost is

    E = mean_i rho(r_i of s_g) + mean_{i near the surface} rho(r_i of s_o) + w v . Q v

with the parameters v = (u, q): u are coordinates of the code under the Gaussian prior, z = mean + B u
(`CodePrior`), and q = (p - p_start) / sigma is the placement in standard deviations. Q is the identity for one code.
With one code for each of N conditioned layers, u = (u_1, ..., u_N) and

    v . Q v = |mean(u)|^2 + sum_n |u_n - mean(u)|^2 + |q|^2

With the derivatives rho'(r) = omega r and rho''(r) = omega e^2 / (r^2 + e^2) of the loss, where
omega = 1 / sqrt(r^2 + e^2), and the Jacobian J of s with respect to v, the Gauss-Newton normal equations of
`levenberg_marquardt` are

    H = J^T C J + 2 w Q,    g = J^T W r + 2 w Q v,    W = diag(omega_i / n),    C = diag((omega_i + rho''_i) / 2 n)

for n samples; W and C are 0 where r_i is 0 or clipped. C = W is iteratively reweighted least squares, which takes short
steps, because it bounds the loss from above; C = rho'' is Newton's method, which nearly ignores large residuals. The
mean of both needs the fewest steps.

The derivatives by the global part of the code take most of the time, so that H keeps those of an earlier step where
`levenberg_marquardt` permits it. g is that of the current parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.latent import levenberg_marquardt
from latentsdf.latent.inversion.sparse_normal_equations import LocalDerivatives, add_normal_equations
from latentsdf.latent.prior import CodePrior
from latentsdf.models.code_jacobian import Linearization, code_gradients, linearize
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.devices import matmul_dtype

PLACEMENT_SIZE = 5
_LOCAL_PRIOR = 0.1  # weight of the prior of local codes; there are many of them, each with few samples
_BRANCHES: tuple[Branch, Branch] = ("general", "overfit")
_CLAMP = 0.1  # truncation distance of DeepSDF, with which presets may be trained
_MAX_RESIDUAL = 2 * _CLAMP  # larger residuals have no gradient: the sample is an outlier, or far from any surface
_SMOOTHING = 2e-3
_MAX_DAMPING = 1e3


@dataclass(frozen=True)
class Samples:
    """Bounds on the signed distance at P points of each of K fits."""

    points: Float[Tensor, "K P 3"]
    low: Float[Tensor, "K P"]
    high: Float[Tensor, "K P"]
    near: Bool[Tensor, "K P"]
    """True for points near the surface, at which the overfit branch is fitted."""

    @staticmethod
    def truncated(points: Tensor, low: Tensor, high: Tensor, near: Tensor) -> "Samples":
        """Create samples with truncated bounds: beyond 0.1, any distance with the right sign is accepted.

        Args:
            points: Positions (K, P, 3) of P samples of each of K fits.
            low: Lower bounds (K, P) of the signed distances.
            high: Upper bounds (K, P).
            near: True for samples near the surface (K, P).
        """
        low = torch.where(low <= -_CLAMP, -torch.inf, low.clamp(max=_CLAMP))
        high = torch.where(high >= _CLAMP, torch.inf, high.clamp(min=-_CLAMP))
        return Samples(points, low, high, near)

    def __getitem__(self, rows: Tensor) -> "Samples":
        return Samples(self.points[rows], self.low[rows], self.high[rows], self.near[rows])


@dataclass(frozen=True)
class Fits:
    """State of K fits."""

    coordinates: Float[Tensor, "K D"]
    """Prior coordinates u: of one code (D = L), or of one code for each of N layers (D = N L)."""
    placements: Float[Tensor, "K 5"]
    cost: Float[Tensor, " K"]

    def __getitem__(self, rows: Tensor | slice) -> "Fits":
        return Fits(self.coordinates[rows], self.placements[rows], self.cost[rows])


@dataclass(frozen=True)
class Solver:
    """Minimizes the cost of fits that share a model and a prior."""

    model: LatentSDF
    prior: CodePrior
    prior_weight: float
    """Weight w of the prior."""
    placement_std: Float[Tensor, " 5"]
    """Standard deviations sigma of the placement; 0 for parameters that are not fitted."""
    layers: int = 1
    """Number of codes N per fit: 1, or the number of conditioned layers."""
    fits_local: bool = True
    """If False, the coordinates v of the local parts of codes are not changed."""

    def initialize(self, codes: Float[Tensor, "K L"], placements: Float[Tensor, "K 5"], samples: Samples) -> Fits:
        """Create fits with the given codes and placements; all layers of a fit start with the same code."""
        single = self.prior.encode(codes)
        coordinates = single.repeat(1, self.layers)
        return self.with_samples(Fits(coordinates, placements, coordinates.new_zeros(len(coordinates))), samples)

    def local_derivatives(self, branch: Linearization) -> LocalDerivatives:
        """Sparse derivatives of a linearized branch by the local codes."""
        assert branch.canonical is not None and branch.local_gradient is not None
        return LocalDerivatives.at(branch.canonical, branch.local_gradient, self.model.config.local.resolution)

    def with_samples(self, fits: Fits, samples: Samples) -> Fits:
        """Return the fits with their cost on other samples."""
        problems, parameters = self._problems(fits, samples)
        return replace(fits, cost=problems.cost(parameters))

    def _problems(self, fits: Fits, samples: Samples) -> "tuple[_FitProblems, Tensor]":
        """Least-squares problems that start from given fits, and their initial parameters."""
        fitted = fits.coordinates.shape[1] if self.fits_local else len(self.prior.basis)
        free, fixed = fits.coordinates[:, :fitted], fits.coordinates[:, fitted:]
        parameters = torch.cat((free, torch.zeros_like(fits.placements)), dim=1)
        return _FitProblems(self, fits.placements, samples, fixed), parameters

    def codes(self, coordinates: Float[Tensor, "K D"]) -> Float[Tensor, "K *N L"]:
        """Convert prior coordinates to the codes that are decoded: (K, L), or (K, N, L) with one code per layer."""
        return self.prior.decode(coordinates if self.layers == 1 else coordinates.unflatten(1, (self.layers, -1)))

    def errors(
        self, coordinates: Float[Tensor, "K D"], placements: Float[Tensor, "K 5"], samples: Samples
    ) -> Float[Tensor, " K"]:
        """Evaluate the cost without the prior."""
        with torch.no_grad():
            points, scale = apply_placement(samples.points, placements)
            predicted = self.model(points, self.codes(coordinates))
        general, overfit = (_charbonnier(_residual(distance / scale, samples)) for distance in predicted)
        general_weight, overfit_weight = _weights(samples)
        return (general * general_weight + overfit * overfit_weight).sum(1)

    def minimize(
        self,
        fits: Fits,
        samples: Samples,
        steps: int,
        tolerance: float,
        on_step: Callable[[], None],
        jacobian_reuses: int = 0,
    ) -> tuple[Fits, list[Float[Tensor, " K"]]]:
        """Minimize the cost of all fits on the given samples.

        Args:
            fits: K fits with their cost on these samples.
            samples: Samples of the K fits.
            steps: Maximum number of trial steps.
            tolerance: A fit ends when a step lowers its cost by less than this share.
            on_step: Called after each step.
            jacobian_reuses: Steps for which the derivatives by the global part of a code may be used again.

        Returns:
            The fits, and the cost (K,) before the first and after each step.
        """
        problems, parameters = self._problems(fits, samples)
        parameters, history = levenberg_marquardt.minimize(
            problems,
            parameters,
            fits.cost,
            max_trials=steps,
            tolerance=tolerance,
            max_damping=_MAX_DAMPING,
            jacobian_reuses=jacobian_reuses,
            on_trial=on_step,
        )
        return Fits(*problems.state(parameters), history[-1]), history

    @cached_property
    def product_dtype(self) -> torch.dtype:
        """Data type of the matrix products in the Jacobian. Low precision suffices: each step is tested on the cost."""
        like = self.prior.mean
        return matmul_dtype(like.device) if like.dtype == torch.float32 else like.dtype

    @cached_property
    def precision(self) -> Float[Tensor, "D D"]:
        """Matrix w Q of the prior over all parameters."""
        like = self.prior.mean
        mean = like.new_full((self.layers, self.layers), 1 / self.layers)
        by_layer = mean / self.layers + like.new_ones(self.layers).diag() - mean
        codes = torch.kron(by_layer, torch.ones_like(like).diag())
        if self.prior.local is not None:
            codes[len(self.prior.basis) :] *= _LOCAL_PRIOR
            codes = codes if self.fits_local else codes[: len(self.prior.basis), : len(self.prior.basis)]
        return self.prior_weight * torch.block_diag(codes, like.new_ones(PLACEMENT_SIZE).diag())


@dataclass(frozen=True)
class _FitProblems:
    """The fits as least-squares problems in v = (u, q). `origin` (K, 5) are the placements at q = 0."""

    solver: Solver
    origin: Float[Tensor, "K 5"]
    samples: Samples
    fixed: Float[Tensor, "K F"]
    """Coordinates that follow those in v and are not changed."""

    def state(
        self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"] | slice = slice(None)
    ) -> tuple[Float[Tensor, "k C"], Float[Tensor, "k 5"]]:
        """Coordinates and placements of parameters."""
        coordinates, offset = _split(parameters)
        placements = self.origin[rows] + offset * self.solver.placement_std
        return torch.cat((coordinates, self.fixed[rows]), dim=1), placements

    def cost(
        self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"] | slice = slice(None)
    ) -> Float[Tensor, " k"]:
        coordinates, placements = self.state(parameters, rows)
        samples = self.samples if isinstance(rows, slice) else self.samples[rows]
        errors = self.solver.errors(coordinates, placements, samples)
        return errors + (parameters @ self.solver.precision * parameters).sum(1)

    def normal_equations(
        self, parameters: Float[Tensor, "k D"], rows: Int[Tensor, " k"], exact: Bool[Tensor, " k"]
    ) -> tuple[Float[Tensor, "k D D"], Float[Tensor, "k D"]]:
        solver, samples = self.solver, self.samples[rows]
        coordinates, placements = self.state(parameters, rows)
        points, scale = apply_placement(samples.points, placements)
        hessian = 2 * solver.precision.repeat(len(parameters), 1, 1)
        gradient = 2 * parameters @ solver.precision
        linearized = linearize(solver.model, _BRANCHES, points, solver.codes(coordinates), solver.product_dtype)
        by_code = self.code_jacobians.at(rows, linearized, exact)
        for branch, branch_by_code, weight in zip(linearized, by_code, _weights(samples), strict=True):
            distance = branch.distance / scale
            residual = _residual(distance, samples)
            has_gradient = (residual != 0) & (residual.abs() < _MAX_RESIDUAL)
            squared = residual.square() + _SMOOTHING**2
            weight = weight * has_gradient / squared.sqrt()
            curvature = weight * (1 + _SMOOTHING**2 / squared) / 2
            by_placement = _by_placement(points - placements[:, None, 2:], branch.point_gradient, distance * scale)
            by_coordinate = (branch_by_code @ solver.prior.basis).flatten(2)
            local = None
            if solver.prior.local is not None:
                local = solver.local_derivatives(branch)
                by_coordinate = by_coordinate + local.by_table(solver.prior.local.regression)
                local = local.transformed(solver.prior.local.basis, scale) if solver.fits_local else None
            jacobian = torch.cat((by_coordinate, by_placement * solver.placement_std), dim=2) / scale[..., None]
            slope = weight * residual
            add_normal_equations(hessian, gradient, jacobian, curvature, slope, local, len(solver.prior.basis))
            if not exact.all():
                slope = slope / scale
                by_current_code = branch.code_gradient_sum(slope)
                by_earlier_code = torch.einsum("kp,kp...l->k...l", slope, branch_by_code)
                change = ((by_current_code - by_earlier_code) @ solver.prior.basis).flatten(1)
                gradient[:, : change.shape[1]] += change
        return hessian, gradient

    @cached_property
    def code_jacobians(self) -> "_CodeJacobians":
        """Derivatives by the global parts of the codes, of the last steps."""
        return _CodeJacobians()


class _CodeJacobians:
    """Derivatives of the distances of K fits by the global parts of their codes, kept from step to step."""

    def __init__(self) -> None:
        self._known: list[Tensor] = []

    def at(
        self, rows: Int[Tensor, " k"], linearized: Sequence[Linearization], exact: Bool[Tensor, " k"]
    ) -> list[Float[Tensor, "k P *N L"]]:
        """Return the derivatives of each branch for the fits `rows`: of `linearized` where `exact`, else the last ones.

        The first call is for all fits.
        """
        if not self._known:
            self._known = code_gradients(linearized)
        elif exact.any():
            anew = exact.nonzero()[:, 0]
            for known, gradient in zip(self._known, code_gradients(linearized, anew), strict=True):
                known[rows[anew]] = gradient
        return [known[rows] for known in self._known]


def apply_placement(
    points: Float[Tensor, "K P 3"], placements: Float[Tensor, "K 5"]
) -> tuple[Float[Tensor, "K P 3"], Float[Tensor, "K 1"]]:
    """Transform points to the frame of the code, y = exp(p0) R(p1) x + (p2, p3, p4).

    Returns:
        Points (K, P, 3) and scales exp(p0) (K, 1).
    """
    scale, cosine, sine = placements[:, :1].exp(), placements[:, 1:2].cos(), placements[:, 1:2].sin()
    x, y, z = points.unbind(-1)
    rotated = torch.stack((cosine * x + sine * z, y, cosine * z - sine * x), dim=-1)
    return scale[..., None] * rotated + placements[:, None, 2:], scale


def _split(parameters: Float[Tensor, "K D"]) -> tuple[Tensor, Tensor]:
    """Split parameters v into coordinates u and placement offsets q."""
    coordinates, offset = parameters.split((parameters.shape[1] - PLACEMENT_SIZE, PLACEMENT_SIZE), dim=1)
    return coordinates, offset


def _by_placement(
    rotated: Float[Tensor, "K P 3"], by_point: Float[Tensor, "K P 3"], distance: Float[Tensor, "K P"]
) -> Float[Tensor, "K P 5"]:
    """Derivative of the predicted distance with respect to the placement, times the scale.

    `rotated` is y without its translation.
    """
    by_rotation = rotated[..., 2] * by_point[..., 0] - rotated[..., 0] * by_point[..., 2]
    by_log_scale = (by_point * rotated).sum(-1) - distance
    return torch.cat((by_log_scale[..., None], by_rotation[..., None], by_point), dim=-1)


def _weights(samples: Samples) -> tuple[Float[Tensor, "K P"], Float[Tensor, "K P"]]:
    """Weights of the samples for the general and for the overfit branch; each row sums to 1."""
    near = samples.near.to(samples.points.dtype)
    return torch.full_like(near, 1 / near.shape[1]), near / near.sum(1, keepdim=True).clamp(min=1)


def _residual(distance: Float[Tensor, "K P"], samples: Samples) -> Float[Tensor, "K P"]:
    within = torch.minimum(torch.maximum(distance, samples.low), samples.high)
    return (distance - within).clamp(-_MAX_RESIDUAL, _MAX_RESIDUAL)


def _charbonnier(residual: Float[Tensor, "K P"]) -> Float[Tensor, "K P"]:
    return (residual.square() + _SMOOTHING**2).sqrt() - _SMOOTHING
