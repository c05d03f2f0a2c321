"""Comparison of any two shapes: meshes, or signed distance functions."""

import trimesh

from latentsdf.config.arguments import check_arguments
from latentsdf.config.validation import Count, Seed
from latentsdf.extraction.csg import Operand
from latentsdf.extraction.extract import extract
from latentsdf.geometry.metrics.surface import (
    F_SCORE_THRESHOLDS,
    Reference,
    SurfaceComparison,
    compare_surfaces,
    require_valid_thresholds,
)
from latentsdf.geometry.targets import read_mesh


@check_arguments
def metrics(
    result: Operand,
    reference: Operand,
    *,
    resolution: int = 256,
    points: Count = 100_000,
    seed: Seed = 0,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
) -> SurfaceComparison:
    """Compare a surface with a reference in the same frame.

    Args:
        result: Mesh, in any form that `geometry.targets` lists; `Field`, such as `ShapeSpace.fused` or `union` return;
            or function from points (N, 3) to signed distances (N,), whose surface is searched in the box [-1, 1]^3.
        reference: The same kinds.
        resolution: Cells per axis at which the surfaces of fields are extracted.
        points: Number of surface samples.
        seed: Seed of the samples.
        taus: Thresholds of the F-score, in (0, 1) and in the units of the frame.
        against: Points of the reference: `samples`, or `vertices`.

    Returns:
        Distances, F-scores, missing parts and pieces, in the units of the frame, as defined in
        `latentsdf.geometry.metrics.surface`; `as_dict()` returns them by name. The distance from which a part counts as
        missing is 0.02 in any frame, so that shapes are best compared in model space (`frame="model"`).

    Raises:
        ConfigError: A setting is out of range, or an argument is neither a mesh nor callable.
        EmptyLevelSetError: A field has no surface in its box.
        MeshError: A mesh has no surface.

    Example:
        >>> import latentsdf as ls
        >>> space = ls.load("checkpoints/chairs")
        >>> ls.metrics(space.fused("chair_a"), space.fused("chair_b")).triangle_mean
    """
    require_valid_thresholds(taus)
    first, second = _surface(result, resolution), _surface(reference, resolution)
    return compare_surfaces(first, second, count=points, seed=seed, taus=taus, against=against)


def _surface(shape: Operand, resolution: int) -> trimesh.Trimesh:
    return extract(shape, resolution=resolution) if callable(shape) else read_mesh(shape, "a comparison")
