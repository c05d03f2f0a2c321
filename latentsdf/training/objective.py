"""What training minimizes: the weighted terms of one batch, by name."""

from functools import partial

import torch
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sdf_batches import MIXTURE, Batch
from latentsdf.models.feature_grid import FeatureGrid, SparseGridRows
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses import (
    Jet,
    code_prior_term,
    data_term,
    directional_divergence_term,
    eikonal_squared_term,
    eikonal_term,
    heat_term,
    jet,
    lipschitz_term,
    norm_term,
    normal_term,
    schedule_value,
    surface_term,
)
from latentsdf.utils.devices import matmul_dtype

_NEAR = 0.05  # where the two branches have to agree
_SEEN_AGAIN = 8  # of so many band samples one is compared at a code between shapes

Terms = dict[str, Tensor]


class Objective:
    """The loss of a model on a batch."""

    def __init__(self, model: LatentSDF, loss: LossConfig, train: TrainConfig) -> None:
        self.model, self.loss, self.train = model, loss, train
        device = next(model.parameters()).device
        self.bf16 = train.bf16 and matmul_dtype(device) == torch.bfloat16

    def __call__(
        self, batch: Batch | PointBatch, codes: Tensor, ramp: float, progress: float
    ) -> tuple[Terms, SparseGridRows | None]:
        """Weighted terms at codes (S, L), and the part of the grid they depend on.

        `ramp` in [0, 1] is the present share of the weights that rise over the first epochs, `progress` in [0, 1] the
        share of the run that schedules go by.
        """
        loss, touched = self.loss, None
        if isinstance(batch, PointBatch):
            terms = self._on_points(batch, codes)
        else:
            terms, touched = self._on_samples(batch, codes, ramp)
        if loss.code > 0:
            terms["code"] = ramp * loss.code * code_prior_term(codes, loss.code_prior, self.train.code_std)
        return terms | self._regularizers(batch, codes, touched, progress, terms), touched

    def _on_points(self, batch: PointBatch, codes: Tensor) -> Terms:
        """IGR's terms (METHODS 3): s and its gradient on the surface, the eikonal term beside it and in the box."""
        loss, count = self.loss, batch.points.shape[1]
        field = partial(self.model.branch, "general", codes=codes)
        off = torch.cat((batch.near_points, batch.box_points), dim=1)
        terms: Terms = {}
        if loss.normals > 0:
            whole = jet(field, torch.cat((batch.points, off), dim=1))
            distance, along, gradient = whole.distance[:, :count], whole.gradient[:, :count], whole.gradient[:, count:]
            terms["normals"] = loss.normals * normal_term(along, batch.normals)
        else:
            distance, gradient = field(batch.points), jet(field, off).gradient
        return {
            "general": loss.general * surface_term(distance),
            **terms,
            "eikonal": loss.eikonal * self._eikonal(gradient),
        }

    def _on_samples(self, batch: Batch, codes: Tensor, ramp: float) -> tuple[Terms, SparseGridRows | None]:
        """Both branches compared with signed distances, and the grid's prior."""
        loss, model = self.loss, self.model
        free = batch.free_points.shape[1]
        canonical = model.canonical(torch.cat((batch.free_points, batch.band_points), dim=1), codes)
        in_band = canonical[:, free:]
        # The general branch sees as many band samples as free-space ones, or none.
        both = free if self.train.lattice else 2 * free
        touched = model.grid.touch(in_band.reshape(-1, 3)) if model.grid is not None else None
        with torch.autocast(canonical.device.type, torch.bfloat16, enabled=self.bf16):
            general = model.decode_general(canonical[:, :both], codes).float()
            overfit = None
            if touched is not None:
                held = self._held(general[:, free:], in_band, codes) if model.adds_detail and model.training else None
                overfit = model.decode_overfit(in_band, codes, touched, held).float()
        data = data_term(general[:, :free], batch.free_distance, loss.clamp)
        if both > free:
            seen = general[:, free:]
            data = data + data_term(seen, batch.band_distance[:, : seen.shape[1]])
        terms = {"general": loss.general * data}
        if overfit is not None:
            terms["overfit"] = loss.overfit * data_term(overfit, batch.band_distance)
        if loss.agreement > 0 and model.grid is not None:
            terms["agreement"] = loss.agreement * self._agreement(batch, codes, model.grid)
        if loss.feature > 0 and touched is not None:
            terms["feature"] = ramp * loss.feature * norm_term(touched(in_band.reshape(-1, 3)))
        return terms, touched

    def _held(self, known: Tensor, in_band: Tensor, codes: Tensor) -> Tensor:
        """s_g at the band samples, the first of which are `known`, without gradients: while networks learn, what is
        to be added to it moves neither s_g nor its codes and warp."""
        with torch.no_grad():
            rest = self.model.decode_general(in_band[:, known.shape[1] :], codes).float()
        return torch.cat((known.detach(), rest), dim=1)

    def _agreement(self, batch: Batch, codes: Tensor, grid: FeatureGrid) -> Tensor:
        """Mean |s_o - s_g| near s_g's surface at band samples of two shapes, for a code between theirs.

        It teaches the overfit network what not to make of the grid; codes, warp, s_g and the grid stay as they are.
        """
        model, few = self.model, batch.band_points[:, ::_SEEN_AGAIN]
        points = torch.cat((few, few.roll(1, 0)), dim=1)
        with torch.autocast(points.device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                between = self._between(codes)
                canonical = model.canonical(points, between)
                general = model.decode_general(canonical, between).float()
                features = grid(canonical.reshape(-1, 3))
            overfit = model.decode_overfit(canonical, between, lambda _: features, general).float()
        return data_term(overfit, general, _NEAR)

    def _between(self, codes: Tensor) -> Tensor:
        """Codes at random on the lines from each shape of the batch to another."""
        return torch.lerp(codes, codes.roll(1, 0), torch.rand(len(codes), 1, device=codes.device))

    def _regularizers(
        self, batch: Batch | PointBatch, codes: Tensor, touched: SparseGridRows | None, progress: float, known: Terms
    ) -> Terms:
        """Terms beside the `known` ones on a named branch: the general one on points of the box, the overfit one in its
        band."""
        loss = self.loss
        terms: Terms = {}
        jets: dict[Branch, Jet] = {}  # terms on one branch see the same values and gradients

        def jet_of(branch: Branch) -> Jet:
            if branch not in jets:
                jets[branch] = self._jet(branch, _points(branch, batch), codes, touched)
            return jets[branch]

        if loss.eikonal > 0 and "eikonal" not in known:
            terms["eikonal"] = loss.eikonal * self._eikonal(jet_of(loss.eikonal_branch).gradient)
        if loss.heat > 0:
            # The other terms are means over uniform points.
            whole = loss.heat_branch == "general"
            heated = self._jet("general", batch.mixture_points, codes, touched) if whole else jet_of("overfit")
            density = MIXTURE.density(batch.mixture_points) if whole else 1.0
            absorption = schedule_value(loss.heat_lambda, progress)
            terms["heat"] = loss.heat * heat_term(heated.distance, heated.gradient, absorption, density)
        if loss.divergence > 0:
            terms["divergence"] = loss.divergence * directional_divergence_term(jet_of(loss.divergence_branch))
        if loss.lipschitz > 0:
            terms["lipschitz"] = loss.lipschitz * self._lipschitz(batch, codes, touched)
        return terms

    def _jet(self, branch: Branch, points: Tensor, codes: Tensor, touched: SparseGridRows | None) -> Jet:
        return jet(partial(self.model.branch, branch, codes=codes, lookup=touched), points)

    def _eikonal(self, gradient: Tensor) -> Tensor:
        return (eikonal_term if self.loss.eikonal_norm == "l1" else eikonal_squared_term)(gradient)

    def _lipschitz(self, batch: Batch | PointBatch, codes: Tensor, touched: SparseGridRows | None) -> Tensor:
        """The general branch between the codes of the batch; the overfit one, whose rows are drawn, at these codes."""
        branch = self.loss.lipschitz_branch
        if branch == "general":
            codes = self._between(codes)
        points = _points(branch, batch)
        signs = torch.randint(2, points.shape[:2], device=points.device) * 2.0 - 1.0
        return lipschitz_term(lambda z: self.model.branch(branch, points, z, touched), codes, signs)


def _points(branch: Branch, batch: Batch | PointBatch) -> Tensor:
    if branch == "general":
        return batch.box_points
    return batch.near_points if isinstance(batch, PointBatch) else batch.band_points
