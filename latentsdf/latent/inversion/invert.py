"""Inversion: fitting of codes to batches of observations, with the networks and the feature grid frozen.

1. The start of a fit is selected among the training codes and their mean (`starts`).
2. The start is continued by Levenberg-Marquardt steps on many samples (`gauss_newton`). If the observation is partial
   or its placement unknown, the best three starts are; those that are not the best in the end are kept as rivals.
3. For a point cloud without normals, the gradient of the fit orients the points, and the fit is continued with these
   signs (`unoriented_points`).
4. A complete shape is then fitted with one code per conditioned layer. The codes are initialized with the shared code,
   and the prior keeps them near their mean. A single code leaves a larger error for unseen shapes. Codes with a local
   part are left out: they have no variant per layer.

DeepSDF (Park et al. 2019, Eq. 10) fits one code by Adam from one random start, as method `adam` does (`adam`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from latentsdf.config.inversion import AdamConfig, InvertConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.adam import fit_by_adam
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.latent.inversion.gauss_newton import PLACEMENT_SIZE, Fits, Solver, apply_placement
from latentsdf.latent.inversion.observation import Observation, orient_observation
from latentsdf.latent.inversion.starts import draw_samples, select_starts
from latentsdf.latent.prior import CodePrior
from latentsdf.models.derivatives import jet
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.console import track
from latentsdf.utils.malloc import keep_freed_memory

BATCH_SIZE = 16
"""Number of observations fitted in one batch."""
_TOLERANCE = 2e-3
_TOLERANCE_BEFORE_LAYERS = 1e-2  # codes by layer correct the remaining error of the shared code
_STEPS_BY_LAYER = 6
_LOCAL_POINTS_FACTOR = 2  # codes with a local part have many more parameters
_ORIENTATION_ROUNDS = 2  # error of s_o after 0, 2 and 4 additional rounds: 0.0049, 0.0044 and 0.0043
_JACOBIAN_REUSES = 2
_PARTIAL_PLACEMENT_STD = (0.3, 0.3, 0.3, 0.3, 0.3)
_PLACEMENT_STD = (0.15, 0.3, 0.1, 0.1, 0.1)
_HYPOTHESES = 3  # kept to the end if the observation may not determine the shape
_LEAST_COST = 1e-6


def invert(
    model: LatentSDF,
    training_codes: Float[Tensor, "T L"],
    observations: Sequence[Observation],
    config: InvertConfig | None = None,
) -> list[Inversion]:
    """Fit one code, and codes by layer unless the method is `adam`, to each observation.

    Args:
        model: Frozen model.
        training_codes: Codes (T, L) of the training shapes, which define the prior and the starts.
        observations: Bounds on the signed distances of the shapes.
        config: Settings; defaults to `InvertConfig()`.

    Returns:
        A fit for each observation, in order. With the Gauss-Newton method, the random samples, and so the fits, depend
        on which other observations are in the same batch of 16.

    Raises:
        MeshError: The method is `adam` with a loss that needs points or normals, which an observation lacks.
    """
    config = config or InvertConfig()
    if config.method == "adam":
        return _invert_by_adam(model, observations, config.adam or AdamConfig(), config.seed)
    has_local = model.config.local_size > 0
    if has_local:
        config = replace(config, points=_LOCAL_POINTS_FACTOR * config.points)
    if has_local or not model.conditioned_layers():
        config = replace(config, by_layer=False)
    keep_freed_memory()
    prior = CodePrior.fit(training_codes, model.config.code_dim, model.config.local.channels)
    placement_std = torch.tensor(
        _PARTIAL_PLACEMENT_STD if config.partial else _PLACEMENT_STD, device=training_codes.device
    )
    solver = Solver(model, prior, config.prior, placement_std if config.align else torch.zeros_like(placement_std))
    batches = [observations[i : i + BATCH_SIZE] for i in range(0, len(observations), BATCH_SIZE)]
    total = sum(config.steps + _rounds_by_layer(batch, config) * _steps_by_layer(config) for batch in batches)
    with track("inverting", total=total, unit="step") as advance:
        return [fit for batch in batches for fit in _invert_batch(solver, training_codes, batch, config, advance)]


def _invert_by_adam(
    model: LatentSDF, observations: Sequence[Observation], config: AdamConfig, seed: int
) -> list[Inversion]:
    """Fit one code to each observation, one after the other: the samples of one keep all cores busy."""
    keep_freed_memory()
    fits = []
    with track("inverting", total=len(observations) * config.steps, unit="step") as advance:
        for observation in observations:
            code, history = fit_by_adam(model, observation, config, seed, advance)
            unplaced = torch.zeros(PLACEMENT_SIZE, device=code.device)
            fits.append(_result(model, code, code, unplaced, observation, history))
    return fits


def _invert_batch(
    solver: Solver,
    training: Float[Tensor, "T L"],
    observations: Sequence[Observation],
    config: InvertConfig,
    advance: Callable[..., None],
) -> list[Inversion]:
    rng = np.random.default_rng(config.seed)
    steps_by_layer = _steps_by_layer(config)
    tolerance = _TOLERANCE_BEFORE_LAYERS if steps_by_layer else _TOLERANCE
    taken = 0

    def on_step() -> None:
        nonlocal taken
        taken += 1
        advance()

    kept = _HYPOTHESES if config.partial or config.align else 1
    fits, histories = select_starts(solver, training, observations, config, kept, rng, on_step)
    kept = len(fits.cost) // len(observations)  # fewer if there are fewer codes to start from
    many = draw_samples(observations, config.points, training.device, rng)
    each = torch.arange(len(observations), device=training.device).repeat_interleave(kept)
    fits = solver.with_samples(fits, many[each])
    steps = max(1, config.steps - taken)
    fits, history = solver.minimize(fits, many[each], steps, tolerance, on_step, _JACOBIAN_REUSES)
    ranked = torch.arange(len(each), device=training.device).view(-1, kept)
    ranked = ranked.gather(1, fits.cost.view(-1, kept).argsort(1))
    hypotheses, best = fits, ranked[:, 0]
    histories = [costs[best] for costs in histories + history]
    fits = fits[best]
    oriented = list(observations)
    if _needs_orientation(observations, config):
        oriented = _orient(solver, fits, observations)
        many = draw_samples(oriented, config.points, training.device, rng)
        fits = solver.with_samples(fits, many)
        fits, more = solver.minimize(fits, many, max(1, config.steps - taken), tolerance, on_step, _JACOBIAN_REUSES)
        histories += more
    advance(config.steps - taken)
    codes = decoded = solver.codes(fits.coordinates)
    if steps_by_layer:
        fixed = torch.zeros_like(solver.placement_std)
        by_layer = replace(solver, placement_std=fixed, layers=len(solver.model.conditioned_layers()))
        fits = by_layer.initialize(codes, fits.placements, many)
        for number in range(_rounds_by_layer(observations, config)):
            if number > 0:
                oriented = _orient(by_layer, fits, observations)
                many = draw_samples(oriented, config.points, training.device, rng)
                fits = by_layer.with_samples(fits, many)
            fits, more = by_layer.minimize(fits, many, steps_by_layer, _TOLERANCE, advance)
            advance(steps_by_layer + 1 - len(more))
            histories += more
        decoded = by_layer.codes(fits.coordinates)
    results = zip(codes, decoded, fits.placements, oriented, torch.stack(histories).cpu().numpy().T, strict=True)
    found = [_result(solver.model, *result) for result in results]
    if kept == 1:
        return found
    return [
        replace(fit, rivals=_rivals(solver, hypotheses[rows], observation))
        for fit, rows, observation in zip(found, ranked, observations, strict=True)
    ]


def _rivals(solver: Solver, ranked: Fits, observation: Observation) -> tuple[Inversion, ...]:
    """Return all hypotheses but the first as fits, with the increase of their cost over that of the first."""
    codes, costs = solver.codes(ranked.coordinates), ranked.cost.cpu().numpy()
    return tuple(
        replace(
            _result(solver.model, codes[i], codes[i], ranked.placements[i], observation, costs[i : i + 1]),
            margin=float(costs[i] / max(costs[0], _LEAST_COST) - 1),
        )
        for i in range(1, len(costs))
    )


def _needs_orientation(observations: Sequence[Observation], config: InvertConfig) -> bool:
    """Return True if an observation is a complete point cloud without normals."""
    return not config.partial and any(o.cloud is not None for o in observations)


def _orient(solver: Solver, fits: Fits, observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations, with signs from the gradients of the fits for clouds without normals."""
    codes = solver.codes(fits.coordinates)
    oriented = list(observations)
    for i, observation in enumerate(observations):
        if observation.cloud is not None:
            points = torch.from_numpy(observation.cloud.points).to(codes)
            one = slice(i, i + 1)
            field = partial(_general_branch, solver.model, fits.placements[one], codes[one])
            outward = torch.nn.functional.normalize(jet(field, points).gradient.detach(), dim=1)
            oriented[i] = orient_observation(observation, outward.cpu().numpy())
    return oriented


def _general_branch(
    model: LatentSDF, placement: Float[Tensor, "1 5"], code: Float[Tensor, "1 *N L"], points: Float[Tensor, "P 3"]
) -> Float[Tensor, " P"]:
    return model.branch("general", apply_placement(points[None], placement)[0], code)[0]


def _rounds_by_layer(observations: Sequence[Observation], config: InvertConfig) -> int:
    return 1 + (_ORIENTATION_ROUNDS if _needs_orientation(observations, config) else 0)


def _steps_by_layer(config: InvertConfig) -> int:
    return min(_STEPS_BY_LAYER, config.steps) if config.by_layer and not config.partial else 0


def _result(
    model: LatentSDF,
    code: Float[Tensor, " L"],
    decoded: Float[Tensor, "*N L"],
    placement: Float[Tensor, " 5"],
    observation: Observation,
    history: Float[NDArray[np.float32], " S"],
) -> Inversion:
    near = observation.near
    low, high = (torch.from_numpy(bound[near]) for bound in (observation.low, observation.high))

    def overfit(points: Tensor) -> Tensor:
        placed, scale = apply_placement(points[None].to(code.device), placement[None])
        return (model.branch("overfit", placed, decoded[None]) / scale)[0].cpu()

    with torch.no_grad():
        distance = map_chunks(overfit, torch.from_numpy(observation.points[near]))
    residual = float((distance - torch.minimum(torch.maximum(distance, low), high)).abs().mean())
    similarity = _compose(observation.similarity, placement.cpu().double().numpy())
    layers = decoded.cpu().numpy() if decoded.ndim == 2 else None
    return Inversion(code.cpu().numpy(), history, residual, similarity, layers=layers)


def _compose(similarity: Similarity, placement: Float[NDArray[np.float64], " 5"]) -> Similarity:
    """Compose the normalization of an observation with a placement: user's frame to the frame of the code."""
    scale, yaw = similarity.scale * float(np.exp(placement[0])), float(placement[1])
    offset = Similarity((0.0, 0.0, 0.0), scale, yaw).to_user(placement[None, 2:])[0]
    x, y, z = (float(v) for v in np.asarray(similarity.center) - offset)
    return Similarity((x, y, z), scale, yaw)
