"""Medial-axis-aware learning of a signed distance u with a phase field v.

The paper is cited in `training.losses.medial_axis`.

v is 1 away from the medial axis and falls to 0 on it, within a band of width epsilon (`medial.axis_width`). The loss is
the weighted sum of

    second_order  int v^2 |H grad u|^2
    phase         int epsilon |grad v|^2 + (v - 1)^2 / (4 epsilon)      (Ambrosio-Tortorelli)
    surface       (1 / epsilon^2) mean u^2 on the cloud
    eikonal       (1 / epsilon) int (|grad u|^2 - 1)^2
    expansion     sum_p int exp(-a_p |u|^p), p = 1, 2, 3

with H the Hessian of u. As in the release, the term in the full Hessian that the paper adds to the second-order term is
left out. Training has three phases: until `phase_start` u alone, with v = 1 and a large expansion weight; then u and v;
from `phase_freeze` on v is frozen and the second-order term is also taken on the cloud (`second_order_on`). Volume
integrals are estimated in adaptive cells, which are halved near the zero set and where v < 0.75.
"""

from typing import Any

import torch
from torch import Tensor, nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.schedules import schedule_value
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.derivatives import jet
from latentsdf.models.factory import build_phase_field
from latentsdf.reconstruction.adaptive_cells import AdaptiveCells
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.objective import WeightedTerm
from latentsdf.reconstruction.sampling import CloudBatch
from latentsdf.training.losses.medial_axis import (
    ambrosio_tortorelli_term,
    density_weights,
    expansion_term,
    scaled_eikonal_term,
    second_order_term,
    weighted_surface_term,
)

_REFINEMENTS = 15  # per run
_NEAR_SURFACE = 0.1  # cells with |u| below this value times 2^-level are halved
_LOW_PHASE = 0.75
_PHASE_CLIP = 10.0


class MedialAxisTrainer(FieldTrainer):
    """Fits a signed distance and a phase field to a cloud.

    Args:
        cloud: The cloud in model space.
        config: Configuration; its section `medial` replaces `loss`.
        device: Device of the networks and the batches.
    """

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        super().__init__(cloud, config, device)
        self.phase = build_phase_field(config.medial, cloud.dim).to(device)
        self.phase_optimizer = torch.optim.Adam(self.phase.parameters(), lr=config.medial.lr_phase, fused=True)
        self.sampler.point_probabilities = torch.from_numpy(density_weights(cloud.points))
        self.cells = AdaptiveCells(cloud.dim, config.extent)
        self._next_refinement = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to continue training, as tensors and plain values."""
        return super().state_dict() | {
            "phase": self.phase.state_dict(),
            "phase_optimizer": self.phase_optimizer.state_dict(),
            "cells": (self.cells.lower, self.cells.edge, self._next_refinement),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        super().load_state_dict(state)
        self.phase.load_state_dict(state["phase"])
        self.phase_optimizer.load_state_dict(state["phase_optimizer"])
        self.cells.lower, self.cells.edge, self._next_refinement = state["cells"]

    def _terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        medial, epsilon = self.config.medial, self.config.medial.axis_width
        before_phase, frozen = progress < medial.phase_start, progress >= medial.phase_freeze
        if progress >= self._next_refinement:
            self._refine_cells(surface_only=before_phase)
            self._next_refinement += 1 / _REFINEMENTS
        points, volume = self.cells.sample(self.config.train.offsurface_points, self.sampler.generator)
        points, volume = points.to(self.device), volume.to(self.device)
        # The cloud is sampled in proportion to the weights of its points, so the mean over the batch is uniform.
        surface_weights = torch.full((len(batch.surface),), 1 / len(batch.surface), device=self.device)
        field = jet(self.network, points)
        surface_field = jet(self.network, batch.surface) if frozen else None
        surface_distance = surface_field.distance if surface_field is not None else self.network(batch.surface)
        values = {
            "surface": weighted_surface_term(surface_distance, surface_weights, epsilon),
            "eikonal": scaled_eikonal_term(field.gradient, volume, epsilon),
            "expansion": expansion_term(field.distance, volume),
        }
        phase = torch.ones_like(volume)
        if frozen:
            with torch.no_grad():
                phase, surface_phase = self.phase(points), self.phase(batch.surface)
        elif not before_phase:
            phase_field = jet(self.phase, points)
            phase = phase_field.distance
            values["phase"] = ambrosio_tortorelli_term(phase, phase_field.gradient, volume, epsilon)
        values["second_order"] = second_order_term(field, phase, volume)
        terms = {
            name: WeightedTerm(schedule_value(getattr(medial, name), progress), value) for name, value in values.items()
        }
        if surface_field is not None:
            on_surface = second_order_term(surface_field, surface_phase, surface_weights)
            terms["second_order_on"] = WeightedTerm(terms["second_order"].weight, on_surface)
        return terms

    def _update(self, learning_rate_scale: float) -> None:
        super()._update(learning_rate_scale)
        # Before `phase_start` and after `phase_freeze` v has no gradient, and Adam leaves it unchanged.
        nn.utils.clip_grad_norm_(self.phase.parameters(), _PHASE_CLIP)
        self.phase_optimizer.param_groups[0]["lr"] = self.config.medial.lr_phase * learning_rate_scale
        self.phase_optimizer.step()
        self.phase_optimizer.zero_grad(set_to_none=True)

    def _refine_cells(self, surface_only: bool) -> None:
        """Refine the base grid near the zero set and, unless `surface_only`, where the phase is low."""
        self.cells = AdaptiveCells(self.cells.lower.shape[1], self.config.extent)

        def needs_split(points: Tensor, level: int) -> Tensor:
            with torch.no_grad():
                points = points.to(self.device)
                near: Tensor = self.network(points).abs() < _NEAR_SURFACE * 2.0**-level
                return (near if surface_only else near | (self.phase(points) < _LOW_PHASE)).cpu()

        self.cells.split(needs_split, self.config.medial.cell_levels)
