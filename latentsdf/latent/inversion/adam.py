"""Published inversions: one code, fitted by Adam from one random start, with the networks and the grid frozen.

`config.inversion.AdamConfig` has the losses, `ADAM_RECIPES` the numbers of the releases. They are followed with these
differences:

- Samples of distances are those of an `Observation`, drawn with replacement; the release of DeepSDF takes runs of a
  shuffled list of 250,000 samples.
- Where an observation bounds distances without determining them (points without normals, parts), |s - d| is the excess
  of s over the bounds, both clamped; for exact distances, the two are equal.
- A space with two branches has the data term of both, as in Compact-SDF, also with the numbers of DeepSDF.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.inversion import AdamConfig
from latentsdf.config.model import Branch
from latentsdf.data.point_batches import NOISE_STD
from latentsdf.latent.inversion.observation import Observation
from latentsdf.models.derivatives import jet
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.losses.first_order import eikonal_squared_term, normal_term, surface_term
from latentsdf.utils.errors import MeshError

_NEAR_DISTANCE = 0.1  # of the draw `near`, as for training (`train.draw`)
_BOX_SHARE = 8  # the box has an eighth as many points as the surface

_Group = tuple[float, NDArray[np.int64]]
"""Share of the samples of a draw, and the rows from which they are drawn."""


def fit_by_adam(
    model: LatentSDF, observation: Observation, config: AdamConfig, seed: int, on_step: Callable[[], None]
) -> tuple[Float[Tensor, " L"], Float[NDArray[np.float32], " S"]]:
    """Fit a code to one observation.

    Args:
        model: Frozen model.
        observation: What is known about the shape.
        config: Settings.
        seed: Seed of the start and of the samples.
        on_step: Called after each step.

    Returns:
        The code, on the device of the model, and the loss of each step before the step.

    Raises:
        MeshError: The loss needs points of the surface, or their normals, which the observation lacks.
    """
    like = next(model.parameters())
    rng = np.random.default_rng(seed)
    length = model.config.code_size
    start = rng.normal(0, config.start_std or 1 / length, length).astype(np.float32)
    code = torch.from_numpy(start).to(like).requires_grad_()
    loss = (_PointLoss if config.loss == "points" else _DistanceLoss)(model, observation, config, rng)
    optimizer = torch.optim.Adam([code], lr=config.lr)
    history: list[Tensor] = []
    was_training = model.training
    model.eval()  # without dropout
    try:
        for step in range(config.steps):
            if step >= config.steps / 2:
                optimizer.param_groups[0]["lr"] = config.lr * config.lr_drop
            size = code.square() if config.prior_norm == "squared" else code.abs()
            value = loss(code) + config.prior * size.mean()
            (code.grad,) = torch.autograd.grad(value, code)
            optimizer.step()
            history.append(value.detach())
            on_step()
    finally:
        model.train(was_training)
    return code.detach(), torch.stack(history).cpu().numpy().astype(np.float32)


class _DistanceLoss:
    """Mean absolute error of both branches at new samples in each step."""

    def __init__(
        self, model: LatentSDF, observation: Observation, config: AdamConfig, rng: np.random.Generator
    ) -> None:
        self.model, self.observation, self.config, self.rng = model, observation, config, rng
        everywhere = np.arange(len(observation.points))
        self.groups: dict[Branch, list[_Group]] = {"general": _groups(observation, everywhere, config)}
        rows = np.flatnonzero(observation.near) if config.overfit == "band" else everywhere
        if model.overfit is not None and len(rows):
            self.groups["overfit"] = _groups(observation, rows, config)

    def __call__(self, code: Float[Tensor, " L"]) -> Float[Tensor, ""]:
        return torch.stack([self._error(branch, code) for branch in self.groups]).sum()

    def _error(self, branch: Branch, code: Float[Tensor, " L"]) -> Float[Tensor, ""]:
        rows = _draw(self.groups[branch], self.config.points, self.rng)
        seen, clamp = self.observation, self.config.clamp or np.inf
        points, low, high = (torch.from_numpy(a[rows]).to(code) for a in (seen.points, seen.low, seen.high))
        distance = self.model.branch(branch, points[None], code[None])[0].clamp(-clamp, clamp)
        within = torch.minimum(torch.maximum(distance, low.clamp(-clamp, clamp)), high.clamp(-clamp, clamp))
        return (distance - within).abs().mean()


class _PointLoss:
    """Terms of IGR at points of the surface, which are drawn once, and near them and in a box, anew in each step."""

    def __init__(
        self, model: LatentSDF, observation: Observation, config: AdamConfig, rng: np.random.Generator
    ) -> None:
        surface, normals = observation.surface, observation.normals
        if surface is None:
            raise MeshError(
                "this inversion fits points of the surface, but the target holds signed distances at samples; pass "
                "the mesh, or points with normals, or choose recipe deepsdf"
            )
        if config.normals > 0 and normals is None:
            raise MeshError(
                "this inversion needs normals of the points; pass points with normals (N, 6), or set adam.normals to 0"
            )
        like = next(model.parameters())
        count = min(config.points, len(surface))
        rows = rng.choice(len(surface), count, replace=False)
        self.model, self.config = model, config
        self.points = torch.from_numpy(surface[rows]).to(like)
        self.normals = None if normals is None else torch.from_numpy(normals[rows]).to(like)
        self.noise = torch.Generator().manual_seed(int(rng.integers(2**63)))

    def __call__(self, code: Float[Tensor, " L"]) -> Float[Tensor, ""]:
        config, points, count = self.config, self.points, len(self.points)
        noise = torch.randn(count, 3, generator=self.noise).to(points)
        box = (2 * torch.rand(count // _BOX_SHARE, 3, generator=self.noise).to(points) - 1) * config.box
        off_surface = torch.cat((points + NOISE_STD * noise, box))
        at = jet(lambda x: self.model.branch("general", x[None], code[None])[0], torch.cat((points, off_surface)))
        loss = surface_term(at.distance[:count])
        if config.normals > 0 and self.normals is not None:
            loss = loss + config.normals * normal_term(at.gradient[:count], self.normals)
        return loss + config.eikonal * eikonal_squared_term(at.gradient[count:])


def _groups(observation: Observation, rows: NDArray[np.int64], config: AdamConfig) -> "list[_Group]":
    """Groups of some rows of an observation by their distances; those of unknown sign have no side."""
    low, high = observation.low[rows], observation.high[rows]
    outside, inside = rows[(low >= 0) & (high > 0)], rows[high <= 0]
    near = rows[np.maximum(np.abs(low), np.abs(high)) <= _NEAR_DISTANCE]
    groups = {
        "even": [(1.0, rows)],
        "signs": [(0.5, outside), (0.5, inside)],
        "near": [(0.5, near), (0.25, outside), (0.25, inside)],
    }[config.draw]
    return [(share, group) for share, group in groups if len(group)] or [(1.0, rows)]


def _draw(groups: "list[_Group]", count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows with replacement, of each group in proportion to its share."""
    ends = np.cumsum([share for share, _ in groups])
    sizes = np.diff(np.round(ends / ends[-1] * count).astype(int), prepend=0)
    return np.concatenate(
        [group[rng.integers(len(group), size=size)] for (_, group), size in zip(groups, sizes, strict=True)]
    )
