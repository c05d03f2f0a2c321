"""Verdicts on surfaces whose errors are known: shifted, incomplete, with debris, and of partial observations."""

import dataclasses
import json

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.latent.inversion.observation import Observation, observe
from latentsdf.latent.inversion.verdict import Verdict, assess, compare_hypotheses, parse_verdict

FITTING = Verdict("fits", 0.99, 0.0, 0.002, 0.004, False)


def sphere(radius: float, center: tuple[float, float, float] = (0, 0, 0)) -> trimesh.Trimesh:
    """Sphere whose triangles are within 1e-3 of it."""
    return trimesh.creation.icosphere(4, radius).apply_translation(center)


def table(*, legs: int) -> trimesh.Trimesh:
    """Table with up to four legs, of 0.2 x 0.2 x 0.5 each, under a top of 1 x 0.1 x 1."""
    places = [(x, -0.25, z) for x in (-0.4, 0.4) for z in (-0.4, 0.4)][:legs]
    parts = [trimesh.creation.box((1, 0.1, 1)).apply_translation((0, 0.049, 0))]
    parts += [trimesh.creation.box((0.2, 0.5, 0.2)).apply_translation(place) for place in places]
    return trimesh.boolean.union(parts)


@pytest.fixture(scope="module")
def ball() -> Observation:
    """Complete observation of a sphere of radius 0.5."""
    return observe(sphere(0.5), frame="model")


@pytest.mark.parametrize(("radius", "word"), [(0.5, "fits"), (0.503, "fits"), (0.49, "partly"), (0.56, "does not fit")])
def test_error_of_sphere_of_other_radius(ball: Observation, radius: float, word: str) -> None:
    """The error is the difference of the radii."""
    verdict = assess(sphere(radius), ball, IDENTITY, partial=False)
    assert verdict.word == word
    assert verdict.error == pytest.approx(abs(radius - 0.5), abs=2.5e-3)
    assert verdict.error <= verdict.error_95


def test_missing_leg() -> None:
    """A missing leg lowers the coverage by its share of the area, less what is within 0.02 of the top."""
    whole, observation = table(legs=4), observe(table(legs=4), frame="model")
    assert assess(whole, observation, IDENTITY, partial=False).word == "fits"
    verdict = assess(table(legs=3), observation, IDENTITY, partial=False)
    leg = 4 * 0.2 * 0.48 + 0.2**2
    assert verdict.coverage == pytest.approx(1 - leg / whole.area, abs=0.02)
    assert verdict.word == "partly" and verdict.excess < 0.01


def test_debris(ball: Observation) -> None:
    """Surface in empty space is counted by its share of the area."""
    verdict = assess(sphere(0.5) + sphere(0.1, (0.8, 0, 0)), ball, IDENTITY, partial=False)
    assert verdict.excess == pytest.approx(0.1**2 / (0.1**2 + 0.5**2), abs=0.015)
    assert (verdict.word, verdict.coverage) == ("partly", 1.0)


def test_hidden_half() -> None:
    """Nothing is said about the hidden half of a partial observation, and surface in front of the seen half counts."""
    points = sphere(0.5).vertices
    seen = points[points[:, 0] > 0]
    observation = observe(np.hstack((seen, seen / 0.5)), frame="model", partial=True)
    whole = assess(sphere(0.5), observation, IDENTITY, partial=True)
    other = assess(sphere(0.5) + sphere(0.1, (-0.8, 0, 0)), observation, IDENTITY, partial=True)
    assert whole.word == other.word == "fits" and "explains what was seen" in str(whole)
    hidden = trimesh.Trimesh(points, sphere(0.5).faces[points[sphere(0.5).faces][..., 0].max(1) < 0.1])
    assert assess(hidden, observation, IDENTITY, partial=True).word == "does not fit"


def test_frame_of_fit(ball: Observation) -> None:
    """The observation is compared in the frame to which an estimated placement moves it."""
    placed = Similarity((0.1, -0.2, 0.3), 0.8, 0.5)
    surface = trimesh.Trimesh(placed.to_model(sphere(0.5).vertices), sphere(0.5).faces)
    verdict = assess(surface, ball, placed, partial=False)
    assert verdict.word == "fits" and verdict.error < 1.5e-3


def test_fit_without_surface(ball: Observation) -> None:
    """A fit without a surface explains nothing; its error is a number that JSON can hold."""
    verdict = assess(None, ball, IDENTITY, partial=False)
    assert (verdict.word, verdict.coverage) == ("does not fit", 0.0)
    assert parse_verdict(json.loads(json.dumps(dataclasses.asdict(verdict), allow_nan=False))) == verdict


@pytest.mark.parametrize(
    ("rival", "radius", "word"),
    [
        (FITTING, 0.5, "fits"),  # the same surface in another placement
        (FITTING, 0.55, "ambiguous"),
        (dataclasses.replace(FITTING, error=0.0045), 0.55, "fits"),
        (dataclasses.replace(FITTING, word="partly"), 0.55, "fits"),
    ],
)
def test_rival(rival: Verdict, radius: float, word: str) -> None:
    """A fit is ambiguous if another surface explains the observation nearly as well."""
    assert compare_hypotheses(FITTING, sphere(0.5), [(rival, sphere(radius))]).word == word


@pytest.mark.parametrize(
    "value",
    ["fits", {}, {**dataclasses.asdict(FITTING), "word": "good"}, {**dataclasses.asdict(FITTING), "error": "0"}],
)
def test_refusal_of_other_entries(value: object) -> None:
    """Entries of a report that are no verdicts are refused."""
    with pytest.raises(ValueError, match="verdict"):
        parse_verdict(value)
