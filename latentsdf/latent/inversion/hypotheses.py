"""Verdicts on a fit and on the other hypotheses that its search kept."""

from collections.abc import Callable
from dataclasses import replace

import trimesh

from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.latent.inversion.observation import Observation
from latentsdf.latent.inversion.verdict import Verdict, assess, compare_hypotheses
from latentsdf.utils.errors import EmptyLevelSetError


def judge(
    fit: Inversion, observation: Observation, surface_of: Callable[[Inversion], trimesh.Trimesh], *, partial: bool
) -> Inversion:
    """Return a fit with its verdict, and its rivals with theirs.

    Args:
        fit: The fit, with its rivals.
        observation: What it was fitted to.
        surface_of: Extracts the surface of a fit in model space, at a resolution of `verdict.RESOLUTION`.
        partial: Whether the observation covers only a part of the shape.
    """
    verdict, surface = _assess(fit, observation, surface_of, partial)
    rivals = [_assess(rival, observation, surface_of, partial) for rival in fit.rivals]
    judged = (replace(rival, verdict=one) for rival, (one, _) in zip(fit.rivals, rivals, strict=True))
    return replace(fit, verdict=compare_hypotheses(verdict, surface, rivals), rivals=tuple(judged))


def _assess(
    fit: Inversion, observation: Observation, surface_of: Callable[[Inversion], trimesh.Trimesh], partial: bool
) -> tuple[Verdict, trimesh.Trimesh | None]:
    """Return the verdict on one hypothesis, and its surface in the model space of the observation, if there is one."""
    try:
        surface = surface_of(fit)
    except EmptyLevelSetError:
        return assess(None, observation, fit.similarity, partial=partial), None
    verdict = assess(surface, observation, fit.similarity, partial=partial)
    placed = observation.similarity.to_model(fit.similarity.to_user(surface.vertices))
    return verdict, trimesh.Trimesh(placed, surface.faces, process=False)
