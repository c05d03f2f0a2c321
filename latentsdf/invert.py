"""Fit codes to observations with the networks and the grid frozen, many observations at once.

The code is written z = mean + A u, with mean and A from the training codes' covariance, so that the prior is |u|^2
and one learning rate fits every direction. All training codes are ranked on the observation; the best ones and the
mean are the starts, and after a fifth of the steps only the best start of each observation goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config import InvertConfig
from latentsdf.delta import Delta
from latentsdf.errors import ConfigError
from latentsdf.geometry.mesh import Similarity
from latentsdf.losses import data_term
from latentsdf.memory import keep_freed_memory
from latentsdf.model.field import LatentSDF
from latentsdf.observation import NEAR, Observation
from latentsdf.progress import track

_TOGETHER = 16
_RANKING_POINTS = 512
_CLAMP = 0.1
_TRUSTED_RESIDUAL = 0.006  # on 9 real chairs and on furniture, F-score(0.02) was above 0.9 below it and under 0.8 above


@dataclass(frozen=True)
class Inversion:
    """A fitted code.

    `code` (L,); `history` sum of both branches' mean absolute errors by step; `residual` the final mean absolute
    error of the overfit branch on samples within 0.05 of the surface, in model space; `ok` False when the
    residual says that the space does not hold this shape; `similarity` leads to the user's frame; `delta` is the
    detail that refining added, None without.
    """

    code: NDArray[np.float32]
    history: NDArray[np.float32]
    residual: float
    ok: bool
    similarity: Similarity
    delta: Delta | None = None


@dataclass(frozen=True)
class CodePrior:
    """Gaussian of the training codes: z = mean + basis u with u ~ N(0, 1)."""

    mean: Float[Tensor, " L"]
    basis: Float[Tensor, "L L"]

    @staticmethod
    def fit(codes: Float[Tensor, "T L"]) -> "CodePrior":
        """Mean and covariance root; the floor keeps directions open that few training shapes span."""
        mean = codes.mean(0)
        centered = codes - mean
        covariance = centered.T @ centered / max(1, len(codes) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        floor = 0.05 * values.clamp(min=0).mean() + 1e-8
        return CodePrior(mean, vectors * (values.clamp(min=0) + floor).sqrt())

    def decode(self, coordinates: Float[Tensor, "K L"]) -> Float[Tensor, "K L"]:
        """Coordinates u -> codes."""
        return self.mean + coordinates @ self.basis.T

    def encode(self, codes: Float[Tensor, "K L"]) -> Float[Tensor, "K L"]:
        """Codes -> coordinates u."""
        return torch.linalg.solve(self.basis, (codes - self.mean).T).T


def invert(
    model: LatentSDF,
    training_codes: Float[Tensor, "T L"],
    observations: Sequence[Observation],
    config: InvertConfig | None = None,
) -> list[Inversion]:
    """One code for each observation (DESIGN 6; compare METHODS 1.6 and 2), found 16 at a time.

    Raises ConfigError for settings below 1.
    """
    config = config or InvertConfig()
    if min(config.steps, config.starts, config.points) < 1:
        raise ConfigError(
            f"inversion needs at least 1 step, start and point, got {config.steps}, {config.starts}, {config.points}"
        )
    keep_freed_memory()
    prior = CodePrior.fit(training_codes)
    batches = [observations[i : i + _TOGETHER] for i in range(0, len(observations), _TOGETHER)]
    with track("inverting", total=config.steps * len(batches), unit="step") as advance:
        return [
            fit for batch in batches for fit in _invert_together(model, training_codes, prior, batch, config, advance)
        ]


def _invert_together(
    model: LatentSDF,
    training_codes: Float[Tensor, "T L"],
    prior: CodePrior,
    observations: Sequence[Observation],
    config: InvertConfig,
    advance: Callable[..., None],
) -> list[Inversion]:
    rng = np.random.default_rng(config.seed)
    coordinates = prior.encode(_starts(model, training_codes, observations, config, rng))
    owner = torch.arange(len(observations), device=coordinates.device).repeat_interleave(config.starts)
    prune_at = max(1, config.steps // 5)
    history: list[Tensor] = []
    adam = torch.optim.Adam([coordinates.requires_grad_()], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.steps, eta_min=config.lr * 0.01)
    for step in range(config.steps):
        if step == prune_at and config.starts > 1:
            best = _best_starts(torch.stack(history[-10:]).mean(0), len(observations))
            coordinates = coordinates.detach()[best].requires_grad_()
            owner = owner[best]
            adam.param_groups[0]["params"] = [coordinates]
            adam.state.clear()
            history = [errors[best] for errors in history]
        # To choose among starts takes fewer samples than to fit one.
        points = config.points if step >= prune_at else max(1, config.points // 4)
        errors = _errors(model, prior.decode(coordinates), observations, owner, points, rng)
        loss = (errors + config.prior * coordinates.square().sum(1)).sum()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
        history.append(errors.detach())
        advance()
    codes = prior.decode(coordinates.detach())
    return [
        _result(model, code, observation, torch.stack(history)[:, i])
        for i, (code, observation) in enumerate(zip(codes, observations, strict=True))
    ]


def _starts(
    model: LatentSDF,
    training: Tensor,
    observations: Sequence[Observation],
    config: InvertConfig,
    rng: np.random.Generator,
) -> Float[Tensor, "K L"]:
    """The best-ranked training codes of each observation and the mean code, `config.starts` each."""
    mean = training.mean(0, keepdim=True)
    starts = []
    for observation in observations:
        points, distance = (x.to(training.device) for x in _draw(observation, _RANKING_POINTS, rng))
        with torch.no_grad():
            predicted = torch.cat(
                [model.branch("general", points.expand(len(c), -1, -1), c) for c in training.split(256)]
            )
        errors = (predicted.clamp(-_CLAMP, _CLAMP) - distance.clamp(-_CLAMP, _CLAMP)).abs().mean(1)
        ranked = training[errors.argsort()[: max(1, config.starts - 1)]]
        starts.append(torch.cat((ranked, mean.expand(config.starts - len(ranked), -1))))
    return torch.cat(starts)


def _draw(observation: Observation, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    pick = rng.integers(len(observation.points), size=count)
    return torch.from_numpy(observation.points[pick]), torch.from_numpy(observation.distance[pick])


def _errors(
    model: LatentSDF,
    codes: Float[Tensor, "K L"],
    observations: Sequence[Observation],
    owner: Tensor,
    points: int,
    rng: np.random.Generator,
) -> Float[Tensor, " K"]:
    """Sum of both branches' mean absolute errors, per code; starts of one observation see the same samples."""
    drawn = [_draw(observation, points, rng) for observation in observations]
    xyz = torch.stack([p for p, _ in drawn]).to(codes.device)[owner]
    distance = torch.stack([d for _, d in drawn]).to(codes.device)[owner].clamp(-_CLAMP, _CLAMP)
    branches = model(xyz, codes)
    near = (distance.abs() < NEAR).float()
    general = (branches.general.clamp(-_CLAMP, _CLAMP) - distance).abs().mean(1)
    overfit = ((branches.overfit.clamp(-_CLAMP, _CLAMP) - distance).abs() * near).sum(1) / near.sum(1).clamp(min=1)
    return general + overfit


def _best_starts(errors: Float[Tensor, " K"], observations: int) -> Tensor:
    table = errors.view(observations, -1)
    return table.argmin(1) + torch.arange(observations, device=errors.device) * table.shape[1]


def _result(model: LatentSDF, code: Tensor, observation: Observation, history: Tensor) -> Inversion:
    near = np.abs(observation.distance) < NEAR
    points = torch.from_numpy(observation.points[near]).to(code.device)
    with torch.no_grad():
        predicted = model.branch("overfit", points[None], code[None])[0].cpu()
    residual = float(data_term(predicted, torch.from_numpy(observation.distance[near])))
    verdict = residual <= _TRUSTED_RESIDUAL
    return Inversion(code.cpu().numpy(), history.cpu().numpy(), residual, verdict, observation.similarity)
