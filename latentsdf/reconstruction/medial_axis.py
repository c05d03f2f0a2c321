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

import torch

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.models.derivatives import jet
from latentsdf.reconstruction.objective import WeightedTerm, with_weights
from latentsdf.reconstruction.phase_training import PhaseTrainer
from latentsdf.reconstruction.sampling import CloudBatch
from latentsdf.training.losses.medial_axis import (
    density_weights,
    expansion_term,
    scaled_eikonal_term,
    second_order_term,
    weighted_surface_term,
)


class MedialAxisTrainer(PhaseTrainer):
    """Fits a signed distance and a phase field to a cloud.

    Args:
        cloud: The cloud in model space.
        config: Configuration; its section `medial` replaces `loss`.
        device: Device of the networks and the batches.
    """

    def __init__(self, cloud: PointCloud, config: ReconstructConfig, device: torch.device) -> None:
        super().__init__(cloud, config, device)
        self.sampler.point_probabilities = torch.from_numpy(density_weights(cloud.points))

    def _terms(self, batch: CloudBatch, progress: float) -> dict[str, WeightedTerm]:
        epsilon = self.config.medial.axis_width
        points, volume = self.phase_training.sample(self.sampler.generator, progress)
        # The cloud is sampled in proportion to the weights of its points, so the mean over the batch is uniform.
        surface_weights = torch.full((len(batch.surface),), 1 / len(batch.surface), device=self.device)
        field = jet(self.network, points)
        surface_field = jet(self.network, batch.surface) if self.phase_training.is_frozen(progress) else None
        surface_distance = surface_field.distance if surface_field is not None else self.network(batch.surface)
        values = {
            "surface": weighted_surface_term(surface_distance, surface_weights, epsilon),
            "eikonal": scaled_eikonal_term(field.gradient, volume, epsilon),
            "expansion": expansion_term(field.distance, volume),
        }
        values |= self.phase_training.terms(field, volume, progress)
        terms = with_weights(self.config.medial, values, progress)
        if surface_field is not None:
            with torch.no_grad():
                surface_phase = self.phase(batch.surface)
            on_surface = second_order_term(surface_field, surface_phase, surface_weights)
            terms["second_order_on"] = WeightedTerm(terms["second_order"].weight, on_surface)
        return terms
