"""Codes, and optionally placements, that bring a frozen model closest to bounds on its signed distance.

The cost of one fit is the mean over samples of |r| for the general branch, plus the mean over samples near the surface
of |r| for the overfit branch, plus a prior; r is how far the predicted distance leaves its bounds. Absolute errors are
minimized as reweighted squares (Charbonnier's root instead of the kink at 0), damped as Levenberg and Marquardt do.

A placement moves samples before they are decoded: model = exp(m0) R(m1) x + (m2, m3, m4), R a turn about y by m1. A
distance then is the decoded one divided by exp(m0).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.latent.prior import CodePrior
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.devices import matmul_dtype

MOTIONS = 5
_BRANCHES: tuple[Branch, Branch] = ("general", "overfit")
_CLAMP = 0.1  # where DeepSDF clamps; presets may be trained so
_FARTHEST = 2 * _CLAMP  # a residual beyond it pulls no more: the sample is wrong, or the model has nothing there
_ROUND = 2e-3
_DAMPING = 1e-2
_MOST_DAMPING = 1e3


@dataclass(frozen=True)
class Samples:
    """Bounds on the distances at P points of K fits, and which of the points are near the surface."""

    points: Float[Tensor, "K P 3"]
    low: Float[Tensor, "K P"]
    high: Float[Tensor, "K P"]
    near: Bool[Tensor, "K P"]

    @staticmethod
    def clamped(points: Tensor, low: Tensor, high: Tensor, near: Tensor) -> "Samples":
        """Bounds as the branches know distances: beyond the clamp any value is right."""
        low = torch.where(low <= -_CLAMP, -torch.inf, low.clamp(max=_CLAMP))
        high = torch.where(high >= _CLAMP, torch.inf, high.clamp(min=-_CLAMP))
        return Samples(points, low, high, near)

    def __getitem__(self, rows: Tensor) -> "Samples":
        return Samples(self.points[rows], self.low[rows], self.high[rows], self.near[rows])


@dataclass(frozen=True)
class Fits:
    """K fits: prior coordinates (K, N L) of N codes each, placements (K, 5), and what they cost (K,)."""

    coordinates: Tensor
    motions: Tensor
    cost: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Fits":
        return Fits(self.coordinates[rows], self.motions[rows], self.cost[rows])


@dataclass(frozen=True)
class Solver:
    """What all fits share. `spread` (5,) are standard deviations of the placement, 0 for what stays as it starts.

    A fit has one code, or with `layers` N one for each conditioned layer. The prior is `prior_weight` times the squared
    coordinates of their mean, and as much times their squared distances from it.
    """

    model: LatentSDF
    prior: CodePrior
    prior_weight: float
    spread: Tensor
    layers: int = 1

    def start(self, codes: Float[Tensor, "K L"], motions: Float[Tensor, "K 5"], samples: Samples) -> Fits:
        """Fits before the first step, with the same code in all layers."""
        single = self.prior.encode(codes)
        coordinates = single.repeat(1, self.layers)
        errors = self.errors(coordinates, motions, samples)
        return Fits(coordinates, motions, errors + self.prior_weight * single.square().sum(1))

    def again(self, fits: Fits, samples: Samples) -> Fits:
        """The same fits, and what they cost on other samples."""
        vector = torch.cat((fits.coordinates, torch.zeros_like(fits.motions)), dim=1)
        return replace(fits, cost=self._cost(vector, fits.motions, samples))

    def codes(self, coordinates: Float[Tensor, "K D"]) -> Float[Tensor, "K *N L"]:
        """What the model decodes: one code a fit, or one a layer."""
        return self.prior.decode(coordinates if self.layers == 1 else coordinates.unflatten(1, (self.layers, -1)))

    @cached_property
    def _products(self) -> torch.dtype:
        """Derivatives to three digits do: a step is tried before it is taken."""
        like = self.prior.mean
        return matmul_dtype(like.device) if like.dtype == torch.float32 else like.dtype

    @cached_property
    def _precision(self) -> Float[Tensor, "D D"]:
        """The prior of coordinates and placement v is v . P v."""
        like = self.prior.mean
        mean = like.new_full((self.layers, self.layers), 1 / self.layers)
        by_layer = mean / self.layers + like.new_ones(self.layers).diag() - mean
        codes = torch.kron(by_layer, torch.ones_like(like).diag())
        return self.prior_weight * torch.block_diag(codes, like.new_ones(MOTIONS).diag())

    def errors(self, coordinates: Tensor, motions: Tensor, samples: Samples) -> Float[Tensor, " K"]:
        """The cost without the prior."""
        with torch.no_grad():
            points, scale = move(samples.points, motions)
            predicted = self.model(points, self.codes(coordinates))
        general, overfit = (_rounded(_residual(distance / scale, samples)) for distance in predicted)
        everywhere, near = _weights(samples)
        return (general * everywhere + overfit * near).sum(1)

    def improve(
        self, fits: Fits, samples: Samples, steps: int, tolerance: float, advance: Callable[[], None]
    ) -> tuple[Fits, list[Tensor]]:
        """At most `steps` steps, until a step gains less than the share `tolerance`; also the cost after each."""
        origin = fits.motions
        vector = torch.cat((fits.coordinates, torch.zeros_like(origin)), dim=1)
        cost, history = fits.cost.clone(), [fits.cost.clone()]
        damping = torch.full_like(cost, _DAMPING)
        curvature = torch.zeros(*vector.shape, vector.shape[1], device=cost.device)
        slope = torch.zeros_like(vector)
        going = torch.arange(len(cost), device=cost.device)
        stale = going
        for _ in range(steps):
            if len(stale):
                curvature[stale], slope[stale] = self._normal_equations(vector[stale], origin[stale], samples[stale])
            diagonal = curvature[going].diagonal(dim1=1, dim2=2)
            damped = diagonal + diagonal.mean(1, keepdim=True)
            system = curvature[going] + torch.diag_embed(damping[going, None] * damped)
            tried = vector[going] - torch.linalg.solve(system, slope[going])
            became = self._cost(tried, origin[going], samples[going])
            better = became < cost[going]
            gain = (cost[going] - became) / cost[going]
            stale = going[better]
            vector[stale], cost[stale] = tried[better], became[better]
            damping[going] = torch.where(better, damping[going] / 4, damping[going] * 5)
            history.append(cost.clone())
            advance()
            done = (better & (gain < tolerance)) | (damping[going] > _MOST_DAMPING)
            stale, going = stale[~done[better]], going[~done]
            if not len(going):
                break
        coordinates, placed = vector.split((vector.shape[1] - MOTIONS, MOTIONS), dim=1)
        return replace(fits, coordinates=coordinates, motions=origin + placed * self.spread, cost=cost), history

    def _cost(self, vector: Tensor, origin: Tensor, samples: Samples) -> Tensor:
        coordinates, placed = vector.split((vector.shape[1] - MOTIONS, MOTIONS), dim=1)
        errors = self.errors(coordinates, origin + placed * self.spread, samples)
        return errors + (vector @ self._precision * vector).sum(1)

    def _normal_equations(self, vector: Tensor, origin: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
        """The cost's curvature (K, D, D) as Gauss and Newton approximate it, and its gradient (K, D)."""
        coordinates, placed = vector.split((vector.shape[1] - MOTIONS, MOTIONS), dim=1)
        motions = origin + placed * self.spread
        points, scale = move(samples.points, motions)
        curvature = 2 * self._precision.repeat(len(vector), 1, 1)
        slope = 2 * vector @ self._precision
        found = linearize(self.model, _BRANCHES, points, self.codes(coordinates), self._products)
        for branch, weight in zip(found, _weights(samples), strict=True):
            distance = branch.distance / scale
            residual = _residual(distance, samples)
            pulls = (residual != 0) & (residual.abs() < _FARTHEST)
            weight = weight * pulls / (residual.square() + _ROUND**2).sqrt()
            by_motion = _by_motion(points - motions[:, None, 2:], branch.point_gradient, distance * scale)
            by_coordinate = (branch.code_gradient @ self.prior.basis).flatten(2)
            rows = torch.cat((by_coordinate, by_motion * self.spread), dim=2) / scale[..., None]
            weighted = rows * weight[..., None]
            curvature += weighted.mT @ rows
            slope += (weighted * residual[..., None]).sum(1)
        return curvature, slope


def move(points: Float[Tensor, "K P 3"], motions: Float[Tensor, "K 5"]) -> tuple[Tensor, Tensor]:
    """Points where the model knows them, and the scale (K, 1) by which their distances grew."""
    scale, cosine, sine = motions[:, :1].exp(), motions[:, 1:2].cos(), motions[:, 1:2].sin()
    x, y, z = points.unbind(-1)
    turned = torch.stack((cosine * x + sine * z, y, cosine * z - sine * x), dim=-1)
    return scale[..., None] * turned + motions[:, None, 2:], scale


def _by_motion(turned: Tensor, by_point: Tensor, distance: Tensor) -> Tensor:
    """Derivative (K, P, 5) of a decoded distance by the placement, times the scale."""
    along_turn = turned[..., 2] * by_point[..., 0] - turned[..., 0] * by_point[..., 2]
    growth = (by_point * turned).sum(-1) - distance
    return torch.cat((growth[..., None], along_turn[..., None], by_point), dim=-1)


def _weights(samples: Samples) -> tuple[Tensor, Tensor]:
    """Of each sample for the general and the overfit branch; they sum to 1."""
    near = samples.near.to(samples.points.dtype)
    return torch.full_like(near, 1 / near.shape[1]), near / near.sum(1, keepdim=True).clamp(min=1)


def _residual(distance: Tensor, samples: Samples) -> Tensor:
    within = torch.minimum(torch.maximum(distance, samples.low), samples.high)
    return (distance - within).clamp(-_FARTHEST, _FARTHEST)


def _rounded(residual: Tensor) -> Tensor:
    return (residual.square() + _ROUND**2).sqrt() - _ROUND
