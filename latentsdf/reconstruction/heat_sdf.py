"""HeatSDF: a signed distance u from the directions of heat flow (Weidemaier et al. 2025, arXiv 2504.11212).

Two convex problems replace the eikonal equation (`training.losses.heat_flow` has the terms):

1. Heat step: a sine network w for each of two time steps minimizes mean w^2 + t mean |grad w|^2 - 2 mean_cloud w.
2. Distance step: with the unit direction n of grad w toward the cloud, u minimizes the weighted sum of

       surface     mean u^2 on the cloud
       alignment   mean |grad u - n|^2 where u < 0 and |grad u + n|^2 elsewhere, over the box
       sides       c(-u) at cells inside and c(u) at cells outside, penalizing wrong signs

No term needs normals. Which side is inside follows from cells around the cloud (`geometry.pointcloud.cell_regions`).

`HeatMedialTrainer` adds the second-order and the Ambrosio-Tortorelli term of the medial-axis method to the second step,
the combination that the paper on that method (`training.losses.medial_axis`) shows without stating its weights.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.cell_regions import CellRegions
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.derivatives import jet
from latentsdf.models.factory import build_network
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.objective import WeightedTerm, with_weights
from latentsdf.reconstruction.phase_training import PhaseTrainer
from latentsdf.reconstruction.sampling import CloudBatch
from latentsdf.training.losses.heat_flow import alignment_term, heat_step_term, side_term, source_direction
from latentsdf.training.losses.medial_axis import density_weights
from latentsdf.training.lr_schedule import cosine, warm_up
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.console import show_note

_NEAR = 0.1
"""Cells up to this distance from the cloud determine the temperature `_THRESHOLD_SHARE` refers to."""
_THRESHOLD_SHARE = 0.6
"""Share of the largest temperature from which on the short time step alone gives the direction."""


class HeatSDFTrainer(FieldTrainer):
    """Fits heat flow, then a signed distance to a cloud.

    Args:
        cloud: The cloud in the frame of the fit.
        config: Configuration; its section `heat_sdf` replaces `loss`.
        device: Device of the networks and the batches.
    """

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        super().__init__(cloud, config, device)
        heat = config.heat_sdf
        self.times = [time for time in (heat.near_time, heat.far_time) if time > 0]
        model = replace(config.model, start="siren")
        self.heat = nn.ModuleList(build_network(model, cloud.dim, config.extent) for _ in self.times).to(device)
        self.heat_optimizer = torch.optim.Adam(
            self.heat.parameters(), lr=config.train.lr_network, betas=(0.9, config.train.beta2), fused=True
        )
        self.sampler.point_probabilities = torch.from_numpy(density_weights(cloud.points))
        oriented = OrientedPointCloud(cloud.points, cloud.normals) if heat.sides_from == "orientation" else None
        regions = CellRegions(
            cloud.points,
            heat.cells,
            config.extent,
            near=_NEAR,
            signed_distance=None if oriented is None else lambda x: map_chunks(oriented.signed_distance, x),
        )
        if not len(regions.inside):
            show_note("points", "enclose no cell, so the initial sphere alone decides which side is inside")
        self._cell_edge = regions.edge
        self._inside, self._outside, self._near = (
            torch.from_numpy(centers).float() for centers in (regions.inside, regions.outside, regions.near)
        )
        self._distance_start: int | None = None
        self._threshold = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to continue training, as tensors and plain values."""
        return super().state_dict() | {
            "heat": self.heat.state_dict(),
            "heat_optimizer": self.heat_optimizer.state_dict(),
            "distance_step": (self._distance_start, self._threshold),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        super().load_state_dict(state)
        self.heat.load_state_dict(state["heat"])
        self.heat_optimizer.load_state_dict(state["heat_optimizer"])
        self._distance_start, self._threshold = state["distance_step"]
        self.heat.requires_grad_(self._distance_start is None)

    def distance_progress(self, progress: float) -> float:
        """Return the share of the distance step that is done, in [0, 1]; 0 during the heat step."""
        share = self.config.heat_sdf.share
        return max(0.0, progress - share) / (1 - share)

    def _terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        if progress < self.config.heat_sdf.share:
            return self._heat_terms(batch)
        if self._distance_start is None:
            self._start_distance_step()
        return self._distance_terms(batch, self.distance_progress(progress))

    def _heat_terms(self, batch: CloudBatch) -> dict[str, WeightedTerm]:
        terms = {}
        for name, network, time in zip(("heat_near", "heat_far"), self.heat, self.times, strict=False):
            at = jet(network, batch.offsurface)
            value = heat_step_term(at.distance, at.gradient, network(batch.surface), time)
            terms[name] = WeightedTerm(1.0, value)
        return terms

    def _start_distance_step(self) -> None:
        self._distance_start = self.step
        self.heat.requires_grad_(False)
        hottest = map_chunks(lambda points: self.heat[0](points.to(self.device)).cpu(), self._near).max()
        self._threshold = _THRESHOLD_SHARE * float(hottest)

    def _distance_terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        heat = self.config.heat_sdf
        field = jet(self.network, batch.offsurface)
        inside, outside = (self._draw_in_cells(centers, heat.side_points) for centers in (self._inside, self._outside))
        others = self.network(torch.cat((batch.surface, inside, outside)))
        surface, inside_values, outside_values = others.split([len(batch.surface), len(inside), len(outside)])
        values = {
            "surface": surface.square().mean(),
            "alignment": alignment_term(
                field.distance, field.gradient, self.direction(batch.offsurface), heat.alignment_width
            ),
            "sides": side_term(inside_values, outside_values, heat.side_width),
        }
        return with_weights(heat, values, progress)

    def direction(self, points: Tensor) -> Tensor:
        """Return unit directions (N, d) toward the heat source at points (N, d) on the device."""
        near, *far = (jet(network, points) for network in self.heat)
        gradient = far[0].gradient.detach() if far else None
        return source_direction((near.distance.detach(), near.gradient.detach()), gradient, self._threshold)

    def _draw_in_cells(self, centers: Tensor, count: int) -> Tensor:
        """Draw uniform points of random cells; none if there is no cell."""
        if not len(centers):
            return centers.to(self.device)
        generator = self.sampler.generator
        chosen = centers[torch.randint(len(centers), (count,), generator=generator)]
        offset = torch.rand(chosen.shape, generator=generator) - 0.5
        return (chosen + self._cell_edge * offset).to(self.device)

    def _update(self, learning_rate_scale: float) -> None:
        if self._distance_start is not None:
            super()._update(learning_rate_scale)
            return
        train = self.config.train
        if train.clip > 0:
            for network in self.heat:
                nn.utils.clip_grad_norm_(network.parameters(), train.clip)
        self.heat_optimizer.param_groups[0]["lr"] = train.lr_network * learning_rate_scale
        self.heat_optimizer.step()
        self.heat_optimizer.zero_grad(set_to_none=True)

    def _learning_rate_scale(self, progress: float) -> float:
        """Return warm-up and decay of the current step of the method, each of which starts at the full rate."""
        train, share = self.config.train, self.config.heat_sdf.share
        if self._distance_start is None:
            return cosine(progress / share, train.lr_final) * warm_up(self.step, train.warmup_steps)
        done = self.step - self._distance_start
        return cosine(self.distance_progress(progress), train.lr_final) * warm_up(done, train.warmup_steps)


class HeatMedialTrainer(PhaseTrainer, HeatSDFTrainer):
    """HeatSDF whose second step also has the second-order and the phase-field term of the medial-axis method.

    Of the section `medial`, the weights `surface`, `eikonal` and `expansion` are not used; its phases refer to the
    second step.
    """

    def _distance_terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        terms = super()._distance_terms(batch, progress)
        points, volume = self.phase_training.sample(self.sampler.generator, progress)
        values = self.phase_training.terms(jet(self.network, points), volume, progress)
        return terms | with_weights(self.config.medial, values, progress)
