"""Training of the phase field of the medial axis beside a signed distance.

The phase field v (`training.losses.medial_axis`) is 1 until `medial.phase_start`, trained until `medial.phase_freeze`,
and frozen from then on. Volume integrals are estimated in adaptive cells, which are halved near the zero set of the
distance and where v < 0.75.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.derivatives import Jet, jet
from latentsdf.models.factory import build_phase_field
from latentsdf.reconstruction.adaptive_cells import AdaptiveCells
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.training.losses.medial_axis import ambrosio_tortorelli_term, second_order_term

_REFINEMENTS = 15  # per run
_NEAR_SURFACE = 0.1  # cells with |u| below this value times 2^-level are halved
_LOW_PHASE = 0.75
_CLIP = 10.0


class PhaseTraining:
    """Phase field, its optimizer and the cells of the volume integrals.

    Args:
        network: The signed distance.
        config: Configuration; the section `medial` is used.
        dim: Dimension of the points.
        device: Device of the network and the points.
    """

    def __init__(self, network: nn.Module, config: ReconstructConfig, dim: int, device: torch.device) -> None:
        self.network, self.config, self.device = network, config, device
        self.phase = build_phase_field(config.medial, dim).to(device)
        self.optimizer = torch.optim.Adam(self.phase.parameters(), lr=config.medial.lr_phase, fused=True)
        self.cells = AdaptiveCells(dim, config.extent)
        self.next_refinement = 0.0
        """Progress at which the cells are refined again."""

    def sample(self, generator: torch.Generator, progress: float) -> tuple[Float[Tensor, "N d"], Float[Tensor, " N"]]:
        """Draw points of the box on the device and their quadrature weights; refines the cells first if it is due.

        Args:
            generator: Random generator.
            progress: Progress of the run in [0, 1].
        """
        if progress >= self.next_refinement:
            self._refine_cells(surface_only=progress < self.config.medial.phase_start)
            self.next_refinement += 1 / _REFINEMENTS
        points, volume = self.cells.sample(self.config.train.offsurface_points, generator)
        return points.to(self.device), volume.to(self.device)

    def is_frozen(self, progress: float) -> bool:
        """True once v is no longer trained."""
        return progress >= self.config.medial.phase_freeze

    def terms(self, field: Jet, volume: Float[Tensor, " N"], progress: float) -> dict[str, Tensor]:
        """Evaluate the term `second_order` and, while v is trained, `phase`.

        Args:
            field: The signed distance at points of `sample`.
            volume: Weights of these points.
            progress: Progress of the run in [0, 1].
        """
        values = {}
        phase = torch.ones_like(volume)
        if self.is_frozen(progress):
            with torch.no_grad():
                phase = self.phase(field.points)
        elif progress >= self.config.medial.phase_start:
            at = jet(self.phase, field.points)
            phase = at.distance
            values["phase"] = ambrosio_tortorelli_term(phase, at.gradient, volume, self.config.medial.axis_width)
        return values | {"second_order": second_order_term(field, phase, volume)}

    def update(self, learning_rate_scale: float) -> None:
        """Update v by its gradients; it has none, and Adam leaves it unchanged, while it is not trained."""
        nn.utils.clip_grad_norm_(self.phase.parameters(), _CLIP)
        self.optimizer.param_groups[0]["lr"] = self.config.medial.lr_phase * learning_rate_scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to continue training, as tensors and plain values."""
        return {
            "phase": self.phase.state_dict(),
            "phase_optimizer": self.optimizer.state_dict(),
            "cells": (self.cells.lower, self.cells.edge, self.next_refinement),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a dictionary that contains what `state_dict` returned."""
        self.phase.load_state_dict(state["phase"])
        self.optimizer.load_state_dict(state["phase_optimizer"])
        self.cells.lower, self.cells.edge, self.next_refinement = state["cells"]

    def _refine_cells(self, surface_only: bool) -> None:
        """Refine the base grid near the zero set and, unless `surface_only`, where the phase is low."""
        self.cells = AdaptiveCells(self.cells.lower.shape[1], self.config.extent)

        def needs_split(points: Tensor, level: int) -> Tensor:
            with torch.no_grad():
                points = points.to(self.device)
                near: Tensor = self.network(points).abs() < _NEAR_SURFACE * 2.0**-level
                return (near if surface_only else near | (self.phase(points) < _LOW_PHASE)).cpu()

        self.cells.split(needs_split, self.config.medial.cell_levels)


class PhaseTrainer(FieldTrainer):
    """Trainer of a field with a phase field beside it."""

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        super().__init__(cloud, config, device)
        self.phase_training = PhaseTraining(self.network, config, cloud.dim, device)

    @property
    def phase(self) -> nn.Module:
        """The phase field v."""
        return self.phase_training.phase

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to continue training, as tensors and plain values."""
        return super().state_dict() | self.phase_training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        super().load_state_dict(state)
        self.phase_training.load_state_dict(state)

    def _update(self, learning_rate_scale: float) -> None:
        super()._update(learning_rate_scale)
        self.phase_training.update(learning_rate_scale)
