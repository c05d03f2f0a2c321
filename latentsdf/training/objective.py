r"""Training objective of a shape space: the weighted loss terms of one batch.

Notation: x_c is a point in canonical space, z its shape's code, s_g and s_o the signed distances of the general and the
overfit branch, d the stored signed distance, F(x_c) the interpolated grid features, n the outward unit normal.

| term | from signed distances | from points on the surface |
|---|---|---|
| `general` | mean \\|s_g - d\\| on off-surface samples, plus the same on band samples | |
| `overfit` | mean \\|s_o - d\\| on band samples | |
| `surface` | | mean \\|s_g\\| |
| `normals` | | mean \\|grad s_g - n\\| |
| `agreement` | mean \\|s_o - s_g\\| at codes between shapes | |
| `feature` | mean \\|F\\| | |
| `local` | mean y^2 of the values y of the local codes | |
| `code`, `eikonal`, `heat`, `directional_divergence`, `lipschitz` | see `training.losses` | see `training.losses` |

Losses of the user's own (`loss.extra`) are added under their names; see `training.custom_losses`.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.config.schedules import schedule_value
from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.importance_sampling import HEAT_MIXTURE
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.models.derivatives import Jet, jet
from latentsdf.models.feature_grid import FeatureGrid, SparseGridRows
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.custom_losses import LossFunction, TrainStep, custom_terms
from latentsdf.training.losses.codes import code_prior_term, lipschitz_term
from latentsdf.training.losses.data import data_term, norm_term
from latentsdf.training.losses.first_order import (
    eikonal_squared_term,
    eikonal_term,
    heat_term,
    normal_term,
    surface_term,
)
from latentsdf.training.losses.second_order import directional_divergence_term
from latentsdf.utils.devices import matmul_dtype

AGREEMENT_CLAMP = 0.05
"""Distance in model space beyond which the agreement term does not compare the branches."""

AGREEMENT_STRIDE = 8
"""Every 8th band sample is evaluated for the agreement term."""

_SCHEDULED = (
    "general",
    "overfit",
    "surface",
    "normals",
    "agreement",
    "code",
    "local",
    "feature",
    "eikonal",
    "heat",
    "heat_lambda",
    "directional_divergence",
    "lipschitz",
)

Terms = dict[str, Tensor]
Weights = dict[str, float]


class Objective:
    """Weighted loss terms of a model on a batch.

    Args:
        model: The model that is trained.
        loss: Weights and variants of the terms.
        train: Training settings, of which `lattice`, `bf16` and `code_std` are used.
        losses: Functions of the losses in `loss.extra`.
        keys: Keys of all training shapes.
    """

    def __init__(
        self,
        model: LatentSDF,
        loss: LossConfig,
        train: TrainConfig,
        losses: Mapping[str, LossFunction] | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        self.losses, self.keys = losses or {}, keys
        self.model, self.loss, self.train = model, loss, train
        device = next(model.parameters()).device
        self.bf16 = train.bf16 and matmul_dtype(device) == torch.bfloat16

    def __call__(
        self, batch: SdfBatch | PointBatch, codes: Tensor, ramp: float, progress: float
    ) -> tuple[Terms, SparseGridRows | None]:
        """Evaluate the weighted terms; their sum is the loss.

        Args:
            batch: Samples of S shapes.
            codes: Codes of the shapes, (S, L).
            ramp: Factor in [0, 1] of the code and feature weights, which rise over the first epochs.
            progress: Share of the run in [0, 1], at which the schedules are evaluated.

        Returns:
            The weighted terms by name, and the rows of the feature grid on which they depend (None without a grid). The
            gradients of the grid are accumulated in these rows.
        """
        weights = {name: schedule_value(getattr(self.loss, name), progress) for name in _SCHEDULED}
        grid_rows = None
        if isinstance(batch, PointBatch):
            terms = self._surface_terms(batch, codes, weights)
        else:
            terms, grid_rows = self._distance_terms(batch, codes, weights, ramp)
        if weights["code"] > 0:
            prior = code_prior_term(codes[:, : self.model.config.code_dim], self.loss.code_prior, self.train.code_std)
            terms["code"] = ramp * weights["code"] * prior
        if weights["local"] > 0 and self.model.config.local_size > 0:
            terms["local"] = weights["local"] * codes[:, self.model.config.code_dim :].square().mean()
        terms |= self._regularizers(batch, codes, grid_rows, weights)
        if self.losses:
            # Last, so that random numbers that they draw do not change those of the other terms.
            step = TrainStep(self.model, batch, codes, self.keys, progress, grid_rows)
            terms |= custom_terms(self.losses, self.loss.extra, step)
        return terms, grid_rows

    def _distance_terms(
        self, batch: SdfBatch, codes: Tensor, weights: Weights, ramp: float
    ) -> tuple[Terms, SparseGridRows | None]:
        """Terms that compare both branches with stored signed distances, and the penalty on grid features."""
        loss, model = self.loss, self.model
        free = batch.offsurface_points.shape[1]
        canonical = model.canonical(torch.cat((batch.offsurface_points, batch.band_points), dim=1), codes)
        in_band = canonical[:, free:]
        # The general branch is trained on as many band samples as off-surface samples, or on none.
        general_count = free if self.train.lattice else 2 * free
        grid_rows = model.grid.select_rows(in_band.reshape(-1, 3)) if model.grid is not None else None
        with torch.autocast(canonical.device.type, torch.bfloat16, enabled=self.bf16):
            general = model.decode_general(canonical[:, :general_count], codes).float()
            overfit = None
            if grid_rows is not None:
                base = None
                if model.is_residual and model.training:
                    base = self._detached_general(general[:, free:], in_band, codes)
                overfit = model.decode_overfit(in_band, codes, grid_rows, base).float()
        data = data_term(general[:, :free], batch.offsurface_distance, loss.clamp)
        if general_count > free:
            general_band = general[:, free:]
            clamp = loss.clamp if loss.clamp_band else 0.0
            data = data + data_term(general_band, batch.band_distance[:, : general_band.shape[1]], clamp)
        terms = {"general": weights["general"] * data}
        if overfit is not None:
            terms["overfit"] = weights["overfit"] * data_term(overfit, batch.band_distance)
        if weights["agreement"] > 0 and model.grid is not None:
            terms["agreement"] = weights["agreement"] * self._agreement(batch, codes, model.grid)
        if weights["feature"] > 0 and grid_rows is not None:
            terms["feature"] = ramp * weights["feature"] * norm_term(grid_rows(in_band.reshape(-1, 3)))
        return terms, grid_rows

    def _detached_general(self, evaluated: Tensor, in_band: Tensor, codes: Tensor) -> Tensor:
        """Return s_g (S, P) at all band samples without gradients, given its values at the first of them.

        The overfit branch adds its residual to s_g; during training, its loss must not propagate through s_g.
        """
        with torch.no_grad():
            rest = self.model.decode_general(in_band[:, evaluated.shape[1] :], codes).float()
        return torch.cat((evaluated.detach(), rest), dim=1)

    def _agreement(self, batch: SdfBatch, codes: Tensor, grid: FeatureGrid) -> Tensor:
        """Mean |s_o - s_g| at codes between pairs of shapes, at band samples of both shapes.

        Only the overfit network receives gradients: it learns which grid features to ignore for codes other than those
        of training shapes. Codes, warp, s_g and the grid are constants.
        """
        model, few = self.model, batch.band_points[:, ::AGREEMENT_STRIDE]
        points = torch.cat((few, few.roll(1, 0)), dim=1)
        with torch.autocast(points.device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                between = _interpolate_randomly(codes)
                canonical = model.canonical(points, between)
                general = model.decode_general(canonical, between).float()
                features = grid(canonical.reshape(-1, 3))
            overfit = model.decode_overfit(canonical, between, lambda _: features, general).float()
        return data_term(overfit, general, AGREEMENT_CLAMP)

    def _surface_terms(self, batch: PointBatch, codes: Tensor, weights: Weights) -> Terms:
        """IGR's terms (Gropp et al. 2020) on the general branch.

        The surface and normal terms are evaluated at points on the surface, the eikonal term at displaced surface
        points and in the box.
        """
        count = batch.points.shape[1]
        field = partial(self.model.branch, "general", codes=codes)
        off_surface = torch.cat((batch.near_points, batch.box_points), dim=1)
        terms: Terms = {}
        gradient: Tensor | None = None
        if weights["normals"] > 0:
            # One pass for all points: values and gradients on the surface, gradients off it.
            whole = jet(field, torch.cat((batch.points, off_surface), dim=1))
            distance, gradient = whole.distance[:, :count], whole.gradient[:, count:]
            terms["normals"] = weights["normals"] * normal_term(whole.gradient[:, :count], batch.normals)
        else:
            distance = field(batch.points)
            if weights["eikonal"] > 0:
                gradient = jet(field, off_surface).gradient
        terms = {"surface": weights["surface"] * surface_term(distance), **terms}
        if gradient is not None and weights["eikonal"] > 0:
            terms["eikonal"] = weights["eikonal"] * self._eikonal(gradient)
        return terms

    def _regularizers(
        self, batch: SdfBatch | PointBatch, codes: Tensor, grid_rows: SparseGridRows | None, weights: Weights
    ) -> Terms:
        """Terms in the derivatives of one branch: the general branch in the box, the overfit branch in the band."""
        branch = self.loss.regularizer_branch
        points = _regularized_points(branch, batch)
        field = partial(self.model.branch, branch, codes=codes, lookup=grid_rows)
        shared: list[Jet] = []  # values and gradients at `points`, evaluated once for all terms

        def jet_at_points() -> Jet:
            if not shared:
                shared.append(jet(field, points))
            return shared[0]

        terms: Terms = {}
        # For points on the surface, `_surface_terms` has evaluated the eikonal term.
        if weights["eikonal"] > 0 and isinstance(batch, SdfBatch):
            terms["eikonal"] = weights["eikonal"] * self._eikonal(jet_at_points().gradient)
        if weights["heat"] > 0:
            # An integral over the box needs points of known density; the other terms are means over uniform points.
            in_box = branch == "general"
            heated = jet(field, batch.heat_points) if in_box else jet_at_points()
            density = HEAT_MIXTURE.density(batch.heat_points) if in_box else 1.0
            terms["heat"] = weights["heat"] * heat_term(
                heated.distance, heated.gradient, weights["heat_lambda"], density
            )
        if weights["directional_divergence"] > 0:
            bending = directional_divergence_term(jet_at_points())
            terms["directional_divergence"] = weights["directional_divergence"] * bending
        if weights["lipschitz"] > 0:
            terms["lipschitz"] = weights["lipschitz"] * self._lipschitz(points, codes, grid_rows)
        return terms

    def _eikonal(self, gradient: Tensor) -> Tensor:
        return (eikonal_term if self.loss.eikonal_norm == "l1" else eikonal_squared_term)(gradient)

    def _lipschitz(self, points: Tensor, codes: Tensor, grid_rows: SparseGridRows | None) -> Tensor:
        """Lipschitz term of s_g at codes between shapes, or of s_o at the codes to which `grid_rows` belong."""
        branch = self.loss.regularizer_branch
        if branch == "general":
            codes = _interpolate_randomly(codes)
        signs = torch.randint(2, points.shape[:2], device=points.device) * 2.0 - 1.0
        return lipschitz_term(lambda z: self.model.branch(branch, points, z, grid_rows), codes, signs)


def _interpolate_randomly(codes: Tensor) -> Tensor:
    """Draw codes (S, L) uniformly on the segments between the code of each shape in the batch and the previous one."""
    return torch.lerp(codes, codes.roll(1, 0), torch.rand(len(codes), 1, device=codes.device))


def _regularized_points(branch: Branch, batch: SdfBatch | PointBatch) -> Tensor:
    if branch == "general":
        return batch.box_points
    return batch.near_points if isinstance(batch, PointBatch) else batch.band_points
