"""Loss terms of a field on one cloud, with their scheduled weights."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentsdf.config.reconstruction import SECOND_ORDER_TERMS, ReconstructConfig
from latentsdf.config.schedules import schedule_value
from latentsdf.models.derivatives import Jet, jet
from latentsdf.reconstruction.sampling import CloudBatch, CloudSampler, local_count
from latentsdf.training.losses.data import data_term, hinge_kantorovich_rubinstein_term, relative_term
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
from latentsdf.training.losses.second_order import directional_divergence_term, laplacian_term, singular_hessian_term


class WeightedTerm(NamedTuple):
    """One loss term."""

    weight: float
    value: Tensor
    """Unweighted scalar."""


def with_weights(section: object, values: dict[str, Tensor], progress: float) -> dict[str, WeightedTerm]:
    """Join values of terms with their weights, the schedules of the same names in a section of the settings."""
    return {
        name: WeightedTerm(schedule_value(getattr(section, name), progress), value) for name, value in values.items()
    }


class BatchField:
    """Field and derivatives at the points of one batch.

    Args:
        network: Maps points (N, d) to signed distances (N,).
        batch: Points of the step.
        sampler: Sampler that drew the batch.
        config: Loss settings and their schedules.
        progress: Progress of the run in [0, 1].
        first_order: Evaluate gradients of `all`, for terms in first derivatives; otherwise they are NaN.
        second_order: Evaluate `separate`, for terms in second derivatives.
    """

    def __init__(
        self,
        network: nn.Module,
        batch: CloudBatch,
        sampler: CloudSampler,
        config: ReconstructConfig,
        progress: float,
        first_order: bool,
        second_order: bool,
    ) -> None:
        second_order_points = batch.offsurface
        if config.loss.second_order_points == "local":
            # The last points of a batch are the local ones.
            others = len(batch.offsurface) - local_count(config.train)
            second_order_points = batch.offsurface[others:]
            batch = replace(batch, offsurface=batch.offsurface[:others])
        self.batch, self.sampler, self.config, self.progress = batch, sampler, config.loss, progress
        points = torch.cat((batch.surface, batch.offsurface, batch.guide))
        values_only = None if first_order else Jet(points, network(points), torch.full_like(points, math.nan))
        self.all: Jet = values_only or jet(network, points)
        """Field at surface, off-surface and guide points, in this order."""
        self._guide_start = len(batch.surface) + len(batch.offsurface)
        self.surface: Jet = self.all[: len(batch.surface)]
        self.offsurface: Jet = self.all[len(batch.surface) : self._guide_start]
        self.separate: Jet | None = jet(network, second_order_points) if second_order else None
        """Field at the points of second-order terms, in a separate graph, so that second derivatives do not involve
        other points."""

    @property
    def guide_distance(self) -> Tensor:
        """Signed distances (G,) at guide points."""
        return self.all.distance[self._guide_start :]

    @cached_property
    def nearest(self) -> tuple[Tensor, Tensor]:
        """Unsigned distances to the cloud and unit directions away from it, at off-surface points."""
        return self.sampler.nearest(self.offsurface.points)


def _eikonal(field: BatchField) -> Tensor:
    at = {"all": field.all, "offsurface": field.offsurface, "surface": field.surface}[field.config.eikonal_points]
    return (eikonal_term if field.config.eikonal_norm == "l1" else eikonal_squared_term)(at.gradient)


def _heat(field: BatchField) -> Tensor:
    off = field.offsurface
    absorption = schedule_value(field.config.heat_lambda, field.progress)
    return heat_term(off.distance, off.gradient, absorption, field.sampler.mixture.density(off.points))


def _guide(field: BatchField) -> Tensor:
    term = relative_term if field.config.guide_relative else data_term
    return term(field.guide_distance, field.batch.guide_distance)


def _hkr(field: BatchField) -> Tensor:
    weight = schedule_value(field.config.hkr_lambda, field.progress)
    outside = field.batch.guide_distance >= 0
    return hinge_kantorovich_rubinstein_term(field.guide_distance, outside, field.config.hkr_margin, weight)


def _normals(field: BatchField) -> Tensor:
    assert field.batch.normals is not None
    return normal_term(field.surface.gradient, field.batch.normals, cosine=field.config.normals_cosine)


def _second_order(term: Callable[[Jet], Tensor]) -> Callable[[BatchField], Tensor]:
    def value(field: BatchField) -> Tensor:
        assert field.separate is not None
        return term(field.separate)

    return value


_TERMS: dict[str, Callable[[BatchField], Tensor]] = {
    "surface": lambda field: surface_term(field.surface.distance),
    "eikonal": _eikonal,
    "off_surface": lambda field: off_surface_term(field.offsurface.distance),
    "heat": _heat,
    "sign_agnostic": lambda field: sign_agnostic_term(field.offsurface.distance, field.nearest[0]),
    "sign_agnostic_normals": lambda field: sign_agnostic_normal_term(field.offsurface.gradient, field.nearest[1]),
    "guide": _guide,
    "hkr": _hkr,
    "normals": _normals,
    "laplacian": _second_order(laplacian_term),
    "directional_divergence": _second_order(directional_divergence_term),
    "singular_hessian": _second_order(singular_hessian_term),
}
"""Loss terms by the names of their weights in `FieldLossConfig`."""
_VALUE_TERMS = ("surface", "off_surface", "sign_agnostic", "guide", "hkr")
"""Loss terms that need no derivatives of the field."""


def weighted_terms(
    network: nn.Module, batch: CloudBatch, sampler: CloudSampler, config: ReconstructConfig, progress: float
) -> dict[str, WeightedTerm]:
    """Evaluate the loss terms of a batch.

    Args:
        network: Maps points (N, d) to signed distances (N,).
        batch: Points of the step.
        sampler: Sampler that drew the batch.
        config: Weights and their schedules.
        progress: Progress of the run in [0, 1].

    Returns:
        Every term with a weight above 0, by name, and `surface`, which is monitored at any weight.
    """
    available = [name for name in _TERMS if name != "normals" or batch.normals is not None]
    weights = {name: schedule_value(getattr(config.loss, name), progress) for name in available}
    second_order = any(weights[name] for name in SECOND_ORDER_TERMS)
    first_order = any(weights[name] for name in weights if name not in (*_VALUE_TERMS, *SECOND_ORDER_TERMS))
    field = BatchField(network, batch, sampler, config, progress, first_order, second_order)
    return {
        name: WeightedTerm(weight, _TERMS[name](field))
        for name, weight in weights.items()
        if weight or name == "surface"
    }
