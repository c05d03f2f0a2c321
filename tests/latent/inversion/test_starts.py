"""Starts of fits against known training shapes and brute force."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.settings import FIT

from latentsdf.geometry.similarity import IDENTITY
from latentsdf.latent.inversion import starts
from latentsdf.latent.inversion.gauss_newton import PLACEMENT_SIZE, Solver
from latentsdf.latent.inversion.invert import invert
from latentsdf.latent.inversion.observation import Observation
from latentsdf.space import ShapeSpace


def _observations(space: ShapeSpace) -> list[Observation]:
    """Each training shape, as samples of its own field."""
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (4000, 3)).astype(np.float32)
    fields = [space.model(torch.from_numpy(points)[None], code[None])[0][0] for code in space.codes]
    near = [distance.detach().numpy().astype(np.float32) for distance in fields]
    return [Observation(points, d, d, IDENTITY) for d in near]


def _solver(space: ShapeSpace) -> Solver:
    return Solver(space.model, space.prior, 1e-6, torch.zeros(PLACEMENT_SIZE))


def test_start_at_training_shape(trained_space: ShapeSpace) -> None:
    """Observations of training shapes lead to the codes of these shapes, in the order of the observations."""
    observations, codes = _observations(trained_space), trained_space.codes.float()
    calls: list[int] = []
    config = replace(FIT, starts=5)  # all codes and their mean, in two rounds
    arguments = (codes, observations, config, 1, np.random.default_rng(0), lambda: calls.append(1))
    fits, history = starts.select_starts(_solver(trained_space), *arguments)
    found = trained_space.prior.decode(fits.coordinates)
    assert torch.equal(torch.cdist(found, codes).argmin(1), torch.arange(len(codes)))
    assert len(history) > len(calls) > 0 and all(costs.shape == (len(codes),) for costs in history)
    torch.testing.assert_close(history[-1], fits.cost)


def test_different_starts_of_parts(trained_space: ShapeSpace) -> None:
    """For a partial observation, the three starts that are left differ by more than codes typically do, best first."""
    observation, codes = _observations(trained_space)[:1], trained_space.codes.float()
    config = replace(FIT, partial=True, starts=4, steps=1)
    fits, _ = starts.select_starts(
        _solver(trained_space), codes, observation, config, 3, np.random.default_rng(0), lambda: None
    )
    assert len(fits.cost) == 3 and (fits.cost.diff() >= 0).all()
    assert fits.coordinates.unique(dim=0).shape == fits.coordinates.shape


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_number_of_steps(trained_space: ShapeSpace, steps: int) -> None:
    """The selection leaves at least one of the steps."""
    observation, codes = _observations(trained_space)[:1], trained_space.codes.float()
    config, taken = replace(FIT, starts=5, steps=steps), list[int]()
    arguments = (codes, observation, config, 1, np.random.default_rng(0), lambda: taken.append(1))
    fits, _ = starts.select_starts(_solver(trained_space), *arguments)
    assert len(taken) <= steps - 1 and len(fits.cost) == 1


def test_fewer_codes_than_hypotheses(trained_space: ShapeSpace) -> None:
    """A part of a shape is fitted in a space of one shape, whose code and mean are the only starts."""
    observation, codes = _observations(trained_space)[0], trained_space.codes[:1].float()
    (fit,) = invert(trained_space.model, codes, [observation], replace(FIT, partial=True, steps=2))
    assert len(fit.rivals) == 1 and np.isfinite(fit.residual)


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(1, [(32, 8, 256), (8, 2, 512), (2, 1, 1024)]), (3, [(32, 8, 512), (8, 3, 1024)]), (32, [])],
)
def test_rounds(count: int, wanted: Sequence[tuple[int, int, int]]) -> None:
    """A quarter of the starts remains after each round, and each has twice as many samples as the last."""
    assert [row[:3] for row in starts._rounds(32, count, 1024)] == wanted


def test_different_first() -> None:
    """Of two alike, the earlier one is chosen; alike ones only if there are too few others."""
    codes = torch.tensor([[0.0], [0.1], [5.0], [5.05], [9.0]])
    placements, std = torch.zeros(5, PLACEMENT_SIZE), torch.zeros(PLACEMENT_SIZE)
    assert starts._different_first(codes, placements, std, 1.0, 3).tolist() == [0, 2, 4]
    assert starts._different_first(codes, placements, std, 1.0, 4).tolist() == [0, 1, 2, 4]
    assert starts._different_first(codes[:2], placements[:2], std, 1.0, 4).tolist() == [0, 1]
    placements[1, 1] = 0.5  # the same code, turned
    assert starts._different_first(codes, placements, std + 0.3, 1.0, 3).tolist() == [0, 1, 2]
