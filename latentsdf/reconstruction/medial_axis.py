"""Medial-axis-aware learning: a distance, and a phase field that marks where its gradient may jump (METHODS 8).

Three phases: the distance alone, with v = 1 and a strong expansion term; then both; then v is frozen, and bending is
weighed on the cloud too. Volume integrals are taken in cells that are split near the surface and where v < 0.75. The
full Hessian of the paper's second-order term is left out, as in its code.
"""

from typing import Any

import torch
from torch import Tensor, nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.factory import build_phase
from latentsdf.reconstruction.adaptive_cells import Cells
from latentsdf.reconstruction.fit import Fit
from latentsdf.reconstruction.sampling import Batch
from latentsdf.training.losses import (
    ambrosio_tortorelli_term,
    density_weights,
    expansion_term,
    jet,
    scaled_eikonal_term,
    schedule_value,
    second_order_term,
    weighted_surface_term,
)
from latentsdf.utils.errors import ConfigError

_REFRESHES = 15  # times the cells are split anew in a run
_NEAR = 0.1
_LOW_PHASE = 0.75
_CLIP_PHASE = 10.0
_SCHEDULES = ("second_order", "phase", "surface", "eikonal", "expansion")


class MedialFit(Fit):
    """The loop of `Fit` with the phase field and its functionals."""

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        _require_valid(config)
        super().__init__(cloud, config, device)
        self.phase = build_phase(config.medial, cloud.dim).to(device)
        self.adam_phase = torch.optim.Adam(self.phase.parameters(), lr=config.medial.lr_phase, fused=True)
        self.sampler.chances = torch.from_numpy(density_weights(cloud.points))
        self.cells = Cells(cloud.dim, config.extent)
        self._split_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "phase": self.phase.state_dict(),
            "adam_phase": self.adam_phase.state_dict(),
            "cells": (self.cells.lower, self.cells.edge, self._split_at),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.phase.load_state_dict(state["phase"])
        self.adam_phase.load_state_dict(state["adam_phase"])
        self.cells.lower, self.cells.edge, self._split_at = state["cells"]

    def _terms(self, batch: Batch, progress: float) -> dict[str, tuple[float, Tensor]]:
        medial, width = self.config.medial, self.config.medial.width
        alone, frozen = progress < medial.first_phase, progress >= medial.last_phase
        if progress >= self._split_at:
            self._split(alone)
            self._split_at += 1 / _REFRESHES
        points, volume = self.cells.draw(self.config.off_points, self.sampler.generator)
        points, volume = points.to(self.device), volume.to(self.device)
        # The cloud is drawn by what its points stand for, so that each counts the same here.
        share = torch.full((len(batch.surface),), 1 / len(batch.surface), device=self.device)
        here = jet(self.network, points)
        on = jet(self.network, batch.surface) if frozen else None
        on_distance = on.distance if on is not None else self.network(batch.surface)
        values = {
            "surface": weighted_surface_term(on_distance, share, width),
            "eikonal": scaled_eikonal_term(here.gradient, volume, width),
            "expansion": expansion_term(here.distance, volume),
        }
        phase = torch.ones_like(volume)
        if frozen:
            with torch.no_grad():
                phase, phase_on = self.phase(points), self.phase(batch.surface)
        elif not alone:
            fresh = jet(self.phase, points)
            phase = fresh.distance
            values["phase"] = ambrosio_tortorelli_term(phase, fresh.gradient, volume, width)
        values["second_order"] = second_order_term(here, phase, volume)
        weighed = {name: (schedule_value(getattr(medial, name), progress), value) for name, value in values.items()}
        if on is not None:
            weighed["second_order_on"] = weighed["second_order"][0], second_order_term(on, phase_on, share)
        return weighed

    def _update(self, progress: float) -> None:
        super()._update(progress)
        # In the first and the last phase v has no gradient, and Adam leaves it as it is.
        nn.utils.clip_grad_norm_(self.phase.parameters(), _CLIP_PHASE)
        self.adam_phase.param_groups[0]["lr"] = self.config.medial.lr_phase * self._decay(progress)
        self.adam_phase.step()
        self.adam_phase.zero_grad(set_to_none=True)

    def _split(self, alone: bool) -> None:
        """Cells from the base grid, finer near the zero set and, once there is a phase, near the axis."""
        self.cells = Cells(self.cells.lower.shape[1], self.config.extent)

        def wanted(points: Tensor, level: int) -> Tensor:
            with torch.no_grad():
                points = points.to(self.device)
                near: Tensor = self.network(points).abs() < _NEAR * 2.0**-level
                return (near if alone else near | (self.phase(points) < _LOW_PHASE)).cpu()

        self.cells.split(wanted, self.config.medial.levels)


def _require_valid(config: ReconstructConfig) -> None:
    """ConfigError for settings with which the phases cannot follow each other or a term has no value."""
    medial = config.medial
    if config.network.kind == "pyramid":
        raise ConfigError("a pyramid has no pure second derivatives; medial_axis needs network.kind sine or softplus")
    if not 0 <= medial.first_phase <= medial.last_phase <= 1:
        raise ConfigError(
            f"medial.first_phase and last_phase must rise within [0, 1], got {medial.first_phase} and "
            f"{medial.last_phase}"
        )
    if medial.width <= 0 or medial.levels < 0:
        raise ConfigError(f"medial.width must be above 0 and levels at least 0, got {medial.width}, {medial.levels}")
    for name in _SCHEDULES:
        schedule_value(getattr(medial, name), 0.0)
