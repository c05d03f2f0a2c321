"""Starts of fits: selection of the training code, and of the placement, from which an inversion continues.

1. All training codes and their mean are ranked by their cost on each observation, for several rotations about the
   vertical axis if the placement is unknown. The best S are the starts.
2. In rounds of a few Levenberg-Marquardt steps, all starts are fitted to few samples; the best quarter enters the next
   round, with twice as many samples, until as many are left as are wanted. This is successive halving (Jamieson and
   Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization"): each round costs about
   half as much as the last one, and many starts are needed, since the best-ranked code often leads to a poor minimum.

The local parts of codes have many parameters and are not fitted here. If an observation may not determine the shape,
the S starts, and those that are left in the end, are different from each other: in their placement, or by more than a
typical distance between training codes, so that they can lead to different hypotheses.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentsdf.config.inversion import InvertConfig
from latentsdf.latent.inversion.gauss_newton import PLACEMENT_SIZE, Fits, Samples, Solver
from latentsdf.latent.inversion.observation import Observation
from latentsdf.utils.chunks import map_chunks

_RANKING_POINTS = 128
_RANKING_BATCH = 1024
_LEAST_POINTS = 64
_REDUCTION = 4  # a round continues one of so many starts
_STEPS = 2
_STEPS_OF_LAST_ROUND = 4
_TOLERANCE = 2e-3
_YAWS = 12
_SCALES = (1.0, 0.8)
_CONSIDERED = 200  # ranked starts among which different ones are searched
_SAME_PLACEMENT = 0.5  # standard deviations


def select_starts(
    solver: Solver,
    training: Float[Tensor, "T L"],
    observations: Sequence[Observation],
    config: InvertConfig,
    count: int,
    rng: np.random.Generator,
    on_step: Callable[[], None],
) -> tuple[Fits, list[Float[Tensor, " K"]]]:
    """Select `count` starts of each of N observations, and fit all but their local codes for a few steps.

    Args:
        solver: Minimizes the cost of a fit.
        training: Codes (T, L) of the training shapes.
        observations: The N observations.
        config: Settings, with the number S of starts.
        count: Number of starts to select per observation.
        rng: Draws the samples.
        on_step: Called after each step.

    Returns:
        K = N * count fits, those of the first observation first, from the best to the worst; and the costs (K,) before
        the first and after each step that led to them.
    """
    spread = _spread(training) if config.partial or config.align else 0.0
    fits = _ranked(solver, training, observations, config, max(config.starts, count), spread, rng)
    starts = len(fits.cost) // len(observations)
    coarse = replace(solver, fits_local=False)
    history: list[Tensor] = []
    steps_left = config.steps
    for size, kept, points, steps in _rounds(starts, count, config.points // 4):
        owner = torch.arange(len(observations), device=training.device).repeat_interleave(size)
        samples = draw_samples(observations, points, training.device, rng)[owner]
        fits = coarse.with_samples(fits, samples)
        costs = [fits.cost]
        steps = min(steps, steps_left - 1)  # at least one is left for the fit itself
        if steps > 0:
            fits, costs = coarse.minimize(fits, samples, steps, _TOLERANCE, on_step, 1)
        steps_left -= len(costs) - 1
        rows = _leading(solver, fits, size, kept, spread)
        fits, history = fits[rows], [cost[rows] for cost in history + costs]
    return fits, history


def draw_samples(
    observations: Sequence[Observation], count: int, device: torch.device, rng: np.random.Generator
) -> Samples:
    """Draw `count` random samples of each observation, with replacement."""
    picks = [(o, rng.integers(len(o.points), size=count)) for o in observations]
    columns = zip(*((o.points[p], o.low[p], o.high[p], o.near[p]) for o, p in picks), strict=True)
    return Samples.truncated(*(torch.from_numpy(np.stack(column)).to(device) for column in columns))


def _rounds(starts: int, count: int, points: int) -> list[tuple[int, int, int, int]]:
    """Rounds that reduce the starts to `count`: starts, starts that are kept, samples and steps of each."""
    sizes = [starts]
    while sizes[-1] > count:
        sizes.append(max(count, -(-sizes[-1] // _REDUCTION)))
    last = len(sizes) - 2
    return [
        (
            sizes[i],
            sizes[i + 1],
            max(_LEAST_POINTS, points // 2 ** (last - i)),
            _STEPS if i < last else _STEPS_OF_LAST_ROUND,
        )
        for i in range(last + 1)
    ]


def _ranked(
    solver: Solver,
    training: Float[Tensor, "T L"],
    observations: Sequence[Observation],
    config: InvertConfig,
    starts: int,
    spread: float,
    rng: np.random.Generator,
) -> Fits:
    """The best-ranked starts of each observation, and the mean code in place of the last; different if `spread` > 0."""
    mean = training.mean(0, keepdim=True)
    candidates = torch.cat((training, mean))
    initial_placements = _initial_placements(config, training)
    codes, placements = [], []
    for observation in observations:
        samples = draw_samples([observation], _RANKING_POINTS, training.device, rng)
        errors = torch.stack([_rank(solver, candidates, one, samples) for one in initial_placements])  # (M, T + 1)
        order = errors.flatten().argsort()
        placement, code = order // len(candidates), order % len(candidates)
        if spread > 0:
            placement, code = placement[:_CONSIDERED], code[:_CONSIDERED]
            places = initial_placements[placement]
            rows = _different_first(candidates[code], places, solver.placement_std, spread, starts)
            placement, code = placement[rows], code[rows]
        placement, code = placement[:starts], code[:starts]
        if starts > 1 and not (code == len(training)).any():
            code[-1], placement[-1] = len(training), placement[0]
        codes.append(candidates[code])
        placements.append(initial_placements[placement])
    coordinates = solver.prior.encode(torch.cat(codes))
    return Fits(coordinates, torch.cat(placements), coordinates.new_zeros(len(coordinates)))


def _spread(training: Float[Tensor, "T L"]) -> float:
    """Typical distance of a training code from their mean."""
    return float((training - training.mean(0)).norm(dim=1).median())


def _leading(solver: Solver, fits: Fits, group: int, count: int, spread: float) -> Int[Tensor, " N"]:
    """Rows of the `count` best fits in each group of rows, in order of their cost; different ones if `spread` > 0."""
    codes, rows = solver.codes(fits.coordinates), []
    for first in range(0, len(fits.cost), group):
        order = first + fits.cost[first : first + group].argsort()
        if spread > 0:
            order = order[_different_first(codes[order], fits.placements[order], solver.placement_std, spread, count)]
        rows.append(order[:count])
    return torch.cat(rows)


def _different_first(
    codes: Float[Tensor, "C L"],
    placements: Float[Tensor, "C 5"],
    placement_std: Float[Tensor, " 5"],
    spread: float,
    count: int,
) -> Int[Tensor, " N"]:
    """Choose `count` of C starts of which, as far as possible, no two are alike, and the earlier of two that are.

    Args:
        codes: Codes of the starts, from the best to the worst.
        placements: Their placements.
        placement_std: Standard deviations of the placement, 0 where it is fixed.
        spread: Distance from which codes are different.
        count: Number of starts to choose; all if there are fewer.
    """
    places = placements / placement_std.clamp(min=1e-9)
    kept: list[int] = []
    for i in range(len(codes)):
        alike = (codes[kept] - codes[i]).norm(dim=1) < spread
        alike &= (places[kept] - places[i]).norm(dim=1) < _SAME_PLACEMENT
        if not alike.any():
            kept.append(i)
        if len(kept) == count:
            break
    others = [i for i in range(len(codes)) if i not in kept]
    return torch.tensor(sorted((kept + others)[:count]), device=codes.device)


def _initial_placements(config: InvertConfig, like: Tensor) -> Float[Tensor, "M 5"]:
    """Placements at which the training codes are ranked."""
    if not config.align:
        return torch.zeros(1, PLACEMENT_SIZE, device=like.device)
    # A partial observation is normalized like a complete shape, so it can be too large.
    scales = _SCALES if config.partial else _SCALES[:1]
    yaws = np.arange(_YAWS) * (2 * np.pi / _YAWS)
    rows = [(np.log(scale), yaw, 0, 0, 0) for scale in scales for yaw in yaws]
    return torch.tensor(rows, dtype=torch.float32, device=like.device)


def _rank(
    solver: Solver, candidates: Float[Tensor, "C L"], placement: Float[Tensor, " 5"], samples: Samples
) -> Float[Tensor, " C"]:
    """Evaluate the errors of candidate codes on the samples of one observation."""

    def errors(codes: Tensor) -> Tensor:
        same = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
        return solver.errors(solver.prior.encode(codes), placement.expand(len(codes), -1), samples[same])

    return map_chunks(errors, candidates, _RANKING_BATCH)
