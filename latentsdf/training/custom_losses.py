"""Loss terms of the user's own: what they receive, where they come from, and their evaluation.

A loss is a function of a `TrainStep` that returns a scalar tensor. `loss.extra` holds its weight, by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import Branch
from latentsdf.config.schedules import schedule_value
from latentsdf.config.training import Config
from latentsdf.config.validation import Schedules
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.models.derivatives import jet
from latentsdf.models.feature_grid import SparseGridRows
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.arrays import describe
from latentsdf.utils.entry_points import load_entry_point
from latentsdf.utils.errors import ConfigError, LatentSDFError, TrainingError


class TrainStep:
    """What a loss of the user's own sees of one training step: S shapes, their codes, samples and distances.

    All positions and distances are in model space, negative inside. Everything is computed on first use.

    Attributes:
        model: The model that is trained.
        codes: Codes (S, L) of the shapes; they receive the gradients of the loss.
        batch: The samples as they were drawn.
        progress: Share of the run in [0, 1].
    """

    def __init__(
        self,
        model: LatentSDF,
        batch: SdfBatch | PointBatch,
        codes: Float[Tensor, "S L"],
        all_keys: Sequence[str],
        progress: float,
        grid_rows: SparseGridRows | None,
    ) -> None:
        self.model, self.batch, self.codes, self.progress = model, batch, codes, progress
        self._all_keys, self._grid_rows = all_keys, grid_rows

    @cached_property
    def keys(self) -> list[str]:
        """category/id of the S shapes."""
        return [self._all_keys[row] for row in self.batch.shape_index.tolist()]

    @cached_property
    def points(self) -> Float[Tensor, "S Q 3"]:
        """Sampled points (S, Q, 3): off-surface samples, then band samples; or the points on the surface."""
        if isinstance(self.batch, PointBatch):
            return self.batch.points
        return torch.cat((self.batch.offsurface_points, self.batch.band_points), dim=1)

    @cached_property
    def target(self) -> Float[Tensor, "S Q"]:
        """Known signed distances (S, Q) of `points`; zero for points on the surface."""
        if isinstance(self.batch, PointBatch):
            return self.points.new_zeros(self.points.shape[:2])
        return torch.cat((self.batch.offsurface_distance, self.batch.band_distance), dim=1)

    @property
    def band_points(self) -> Float[Tensor, "S P 3"]:
        """The samples close to the surface (S, P, 3), at which the overfit branch is trained."""
        return self.batch.points if isinstance(self.batch, PointBatch) else self.batch.band_points

    def distance(
        self, points: Float[Tensor, "S R 3"] | None = None, branch: Branch = "general"
    ) -> Float[Tensor, "S R"]:
        """Evaluate signed distances of the model, differentiable in its parameters, the codes and the points.

        Args:
            points: Points (S, R, 3); None for `points`, or `band_points` for the overfit branch.
            branch: `general` (s_g) at any points, or `overfit` (s_o) at `band_points` only, because a step reads and
                updates only the part of the grid that these points need.

        Returns:
            Signed distances (S, R).

        Raises:
            ConfigError: The overfit branch is requested at other points.
        """
        return self._field(branch, points)(self._points(branch, points))

    def gradient(
        self, points: Float[Tensor, "S R 3"] | None = None, branch: Branch = "general"
    ) -> Float[Tensor, "S R 3"]:
        """Evaluate spatial gradients (S, R, 3) of the signed distance, with the arguments and errors of `distance`."""
        return jet(self._field(branch, points), self._points(branch, points)).gradient

    def _points(self, branch: Branch, points: Tensor | None) -> Tensor:
        if points is None:
            return self.points if branch == "general" else self.band_points
        return points

    def _field(self, branch: Branch, points: Tensor | None) -> Callable[[Tensor], Tensor]:
        if branch == "overfit" and points is not None and points is not self.band_points:
            raise ConfigError(
                "a loss can evaluate the overfit branch only at step.band_points; leave points out, or use "
                "branch='general'"
            )
        return partial(self.model.branch, branch, codes=self.codes, lookup=self._grid_rows)


LossFunction: TypeAlias = Callable[[TrainStep], Tensor]
"""A loss: maps a `TrainStep` to a scalar tensor, before its weight."""


def with_losses(config: Config, losses: Mapping[str, Any]) -> tuple[Config, dict[str, LossFunction]]:
    """Record the weights of losses in a configuration.

    Args:
        config: Configuration of the run.
        losses: By name, a function, whose weight is that of `loss.extra` or else 1, or a pair of a function and a
            weight or schedule.

    Returns:
        The configuration with all weights in `loss.extra`, and the functions.

    Raises:
        ConfigError: A value is not a function, or a weight or name is not valid.
    """
    if not isinstance(losses, Mapping):
        raise ConfigError(f"losses must be functions by name, such as {{'mine': function}}, got {describe(losses)}")
    extra: dict[str, Any] = dict(config.loss.extra)
    functions: dict[str, LossFunction] = {}
    for name, value in losses.items():
        function, weight = value if isinstance(value, tuple) and len(value) == 2 else (value, extra.get(name, 1.0))
        if not callable(function):
            raise ConfigError(
                f"losses['{name}'] must be a function of a TrainStep, or a pair of a function and a weight, got "
                f"{type(value).__name__}"
            )
        functions[name], extra[name] = function, weight
    return replace(config, loss=replace(config.loss, extra=extra)), functions


def find_losses(extra: Schedules, given: Mapping[str, LossFunction]) -> dict[str, LossFunction]:
    """Return the function of each loss in `loss.extra`: the given one, or that of an installed package.

    Raises:
        ConfigError: There is no function for a name.
    """
    instead = "pass the function, ls.train(losses={...})"
    return {
        name: given[name] if name in given else load_entry_point("latentsdf.losses", name, instead) for name in extra
    }


def custom_terms(functions: Mapping[str, LossFunction], extra: Schedules, step: TrainStep) -> dict[str, Tensor]:
    """Evaluate losses and multiply them by their weights; a loss of weight 0 is not evaluated.

    Raises:
        TrainingError: A loss raises an exception, does not return a scalar tensor, or trains nothing.
    """
    terms: dict[str, Tensor] = {}
    for name, function in functions.items():
        weight = schedule_value(extra[name], step.progress)
        if weight > 0:
            terms[name] = weight * _evaluate(name, function, step)
    return terms


def _evaluate(name: str, function: LossFunction, step: TrainStep) -> Tensor:
    try:
        value = function(step)
    except LatentSDFError as error:
        raise type(error)(f"loss '{name}': {error}") from error
    except Exception as error:
        raise TrainingError(f"loss '{name}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(value, Tensor) or value.ndim or value.is_complex():
        is_tensor = isinstance(value, Tensor)
        found = f"a {value.dtype} tensor of shape {tuple(value.shape)}" if is_tensor else type(value).__name__
        raise TrainingError(f"loss '{name}' must return a scalar tensor, such as a mean, got {found}")
    if not value.requires_grad:
        raise TrainingError(
            f"loss '{name}' trains nothing: its value depends on neither the model nor the codes; compute it from "
            "step.distance(), step.gradient() or step.codes, without detach() and no_grad()"
        )
    return value
