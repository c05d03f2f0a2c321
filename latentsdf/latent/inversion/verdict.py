"""Verdict on a fit: how well its surface and the observation explain each other.

The error of the field near the observed surface says little about thin parts: where a leg is missing, the field changes
by no more than the thickness of the leg. The verdict is therefore measured on the extracted surface. In the model space
of the fit, with the observation as bounds on the signed distance s at samples x_i:

- q are samples near the observed surface, whose signed distance d(q), the middle of its bounds, is within +-0.005;
- p are points on the surface of the fit;
- B_i is the ball around x_i that contains no surface, of radius r_i, the smallest |s| within the bounds at x_i.

`coverage` is the share of q closer than 0.02 to the surface of the fit, and `excess` the share of p deeper than 0.02 in
a ball: surface where the observation shows that there is none. The errors are

    e(q) = | signed distance from q to the surface of the fit - d(q) |,    e(p) = depth of p in the deepest ball B_i

`error` is the larger of their means over q and over p, `error_95` the larger of their 95th percentiles. A partial
observation excludes surface only near its points; the hidden rest is not judged.

A fit `fits` if coverage, excess and error are within `FITS`, the bounds of a good reconstruction, and fits `partly` if
they are within `PARTLY`. It is `ambiguous` if it fits, and another hypothesis explains the observation nearly as well
by a different surface. The bounds do not depend on the space.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import igl
import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.surface import MISSING_DISTANCE, sample_surface, triangle_distance
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.observation import Observation

Word = Literal["fits", "partly", "does not fit", "ambiguous"]

RESOLUTION = 128
"""Cells per axis at which the surface of a fit is extracted for its verdict."""
_ON_SURFACE = 0.005
_SURFACE_SAMPLES = 5_000
_NEAREST = 32  # balls tested for each sample of the fit
_NO_SURFACE = 2 * 3**0.5  # error of a fit without a surface: the diagonal of the box
_RIVAL_ERROR = 1.5  # a rival explains the observation nearly as well up to this factor of the error ...
_RIVAL_SLACK = 0.001  # ... plus this distance
_DIFFERENT = 0.01  # mean distance between surfaces from which they are different shapes


class Bounds(NamedTuple):
    """Requirements on a fit."""

    coverage: float
    excess: float
    error: float


FITS = Bounds(coverage=0.98, excess=0.02, error=0.005)
"""A good reconstruction."""
PARTLY = Bounds(coverage=0.85, excess=0.15, error=0.05)
"""A recognizable one, with parts missing or added."""


@dataclass(frozen=True)
class Verdict:
    """How well a fit and its observation explain each other, as defined in the module docstring."""

    word: Word
    """`fits`, `partly`, `does not fit`, or `ambiguous`."""
    coverage: float
    """Share of the observed surface that the fit explains, in [0, 1]."""
    excess: float
    """Share of the surface of the fit where the observation shows that there is none, in [0, 1]."""
    error: float
    """Mean error of the surface, in model space."""
    error_95: float
    """95th percentile of the error of the surface, in model space."""
    partial: bool
    """The observation covers only part of the surface; nothing is said about the rest."""

    def __str__(self) -> str:
        words: dict[str, str] = {"ambiguous": "ambiguous: another shape or placement fits nearly as well"}
        if self.partial:
            words |= {
                "fits": "explains what was seen",
                "partly": "explains what was seen in part",
                "does not fit": "does not explain what was seen",
            }
        return (
            f"{words.get(self.word, self.word)} ({self.coverage:.1%} of the observed surface, mean error "
            f"{self.error:.4f}, 95 % below {self.error_95:.4f}, {self.excess:.1%} of the surface in empty space)"
        )


def assess(
    surface: trimesh.Trimesh | None, observation: Observation, similarity: Similarity, *, partial: bool
) -> Verdict:
    """Judge the surface of a fit by the observation.

    Args:
        surface: Extracted surface in the model space of the fit; None if there is none.
        observation: The observation that was fitted.
        similarity: Similarity of the fit, between the user's frame and its model space.
        partial: The observation covers only part of the surface.

    Returns:
        The verdict, without regard to other hypotheses.
    """
    if surface is None or surface.area == 0:
        return Verdict("does not fit", 0.0, 0.0, _NO_SURFACE, _NO_SURFACE, partial)
    scale = similarity.scale / observation.similarity.scale
    points = similarity.to_model(observation.similarity.to_user(observation.points))
    low, high = scale * observation.low, scale * observation.high
    on_surface = _subsample(np.flatnonzero(np.maximum(np.abs(low), np.abs(high)) <= _ON_SURFACE))
    found = _signed_distance(points[on_surface], surface)
    missed = np.abs(found - (low + high)[on_surface] / 2)
    radius = np.maximum(np.maximum(low, -high), 0)
    samples = sample_surface(surface, _SURFACE_SAMPLES, 0).points
    added = _depth_in_balls(samples, points, radius)
    measured = Verdict(
        "does not fit",
        coverage=float((np.abs(found) < MISSING_DISTANCE).mean()) if len(found) else 0.0,
        excess=float((added > MISSING_DISTANCE).mean()),
        error=float(max(_mean(missed), added.mean())),
        error_95=float(max(_quantile(missed), np.quantile(added, 0.95))),
        partial=partial,
    )
    if _is_within(measured, FITS):
        return dataclasses.replace(measured, word="fits")
    return dataclasses.replace(measured, word="partly") if _is_within(measured, PARTLY) else measured


def compare_hypotheses(
    verdict: Verdict, surface: trimesh.Trimesh | None, rivals: Sequence[tuple[Verdict, trimesh.Trimesh | None]]
) -> Verdict:
    """Return the verdict on the best hypothesis in view of the others.

    Args:
        verdict: Verdict on the best hypothesis.
        surface: Its surface in the model space of the observation.
        rivals: Verdicts on the other hypotheses, and their surfaces in the same frame.

    Returns:
        The verdict, with the word `ambiguous` if the best hypothesis fits and a rival explains the observation nearly
        as well by a different surface.
    """
    if verdict.word != "fits" or surface is None:
        return verdict
    for rival, other in rivals:
        explains = rival.word == "fits" and rival.error <= _RIVAL_ERROR * verdict.error + _RIVAL_SLACK
        if explains and other is not None and _mean_distance(surface, other) > _DIFFERENT:
            return dataclasses.replace(verdict, word="ambiguous")
    return verdict


def parse_verdict(value: object) -> Verdict | None:
    """Read a verdict from a report.

    Args:
        value: The entry of the report; None for a fit without a verdict.

    Raises:
        ValueError: The entry is no verdict.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {field.name for field in dataclasses.fields(Verdict)}:
        raise ValueError("expected a verdict")
    numbers = {name: value[name] for name in ("coverage", "excess", "error", "error_95")}
    is_number = [isinstance(number, int | float) and not isinstance(number, bool) for number in numbers.values()]
    if value["word"] not in get_args(Word) or not isinstance(value["partial"], bool) or not all(is_number):
        raise ValueError("expected a verdict")
    return Verdict(value["word"], partial=value["partial"], **{name: float(x) for name, x in numbers.items()})


def _is_within(verdict: Verdict, bounds: Bounds) -> bool:
    return verdict.coverage >= bounds.coverage and verdict.excess <= bounds.excess and verdict.error <= bounds.error


def _depth_in_balls(
    samples: Float[NDArray[np.float64], "P 3"],
    centers: Float[NDArray[np.float64], "N 3"],
    radius: Float[NDArray[np.floating], " N"],
) -> Float[NDArray[np.float64], " P"]:
    """Depth of each sample in the deepest of the nearest balls; 0 outside of them."""
    empty = radius > 0
    if not empty.any():
        return np.zeros(len(samples))
    tree = cKDTree(centers[empty])
    distance, nearest = tree.query(samples, k=min(_NEAREST, int(empty.sum())), workers=-1)
    depth = radius[empty][nearest] - distance
    return np.maximum(depth.reshape(len(samples), -1).max(1), 0)


def _signed_distance(points: NDArray[np.float64], mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    if not len(points):
        return np.zeros(0)
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    return np.asarray(igl.signed_distance(points, vertices, faces, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL)[0])


def _mean_distance(first: trimesh.Trimesh, second: trimesh.Trimesh) -> float:
    """Mean distance between two surfaces, over both directions."""
    pairs = ((first, second), (second, first))
    return float(np.mean([triangle_distance(sample_surface(mesh, 1_000, 0).points, other) for mesh, other in pairs]))


def _subsample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every n-th row, so that about as many remain as samples of the surface are drawn."""
    return rows[:: max(1, len(rows) // _SURFACE_SAMPLES)]


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _quantile(values: NDArray[np.floating]) -> float:
    return float(np.quantile(values, 0.95)) if len(values) else 0.0
