"""Constructive solid geometry of signed distance fields: Boolean operations, offset and smooth union.

    union            min(a, b)
    intersection     max(a, b)
    difference       max(a, -b)
    offset           a - d
    blend            min(a, b) - h^2 k / 4,  h = max(k - |a - b|, 0) / k        (Quilez, polynomial smooth minimum)

The zero set is exact in all cases. The values stay lower bounds of the absolute distance where the operands are: min is
exact outside, max inside. Operands are meshes, functions from points (N, 3) to distances (N,), and fields such as
`ShapeSpace.fused(shape)` or `Reconstruction.field()`, all in one frame. Results are `Field` objects, which `extract`,
`render` and `metrics` accept, and which carry the box that contains the surface.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
import trimesh
from torch import Tensor

from latentsdf.config.arguments import check_arguments
from latentsdf.extraction.field import Field, SignedDistance, as_field
from latentsdf.geometry.similarity import Similarity
from latentsdf.utils.errors import ConfigError

Operand: TypeAlias = SignedDistance | trimesh.Trimesh
"""A mesh, a function from points to distances, or a `Field`."""


def union(*shapes: Operand) -> Field:
    """Join shapes: the minimum of their distances.

    Args:
        *shapes: One or more meshes, functions or fields in one frame.

    Returns:
        The field of the union, in a box that contains those of all shapes.

    Raises:
        ConfigError: There is no shape, or one is neither a mesh nor callable.

    Example:
        >>> import latentsdf as ls
        >>> space = ls.load("checkpoints/chairs")
        >>> pair = ls.union(space.fused("chair_a"), space.fused("chair_b"))
        >>> ls.extract(pair, resolution=256).export("pair.ply")
    """
    fields = _operands(shapes)
    return _combine(torch.minimum, fields, _enclosing_box(fields))


def intersection(*shapes: Operand) -> Field:
    """Intersect shapes: the maximum of their distances.

    Args:
        *shapes: One or more meshes, functions or fields in one frame.

    Returns:
        The field of the intersection, in the smallest of the shapes' boxes.

    Raises:
        ConfigError: As for `union`.
    """
    fields = _operands(shapes)
    return _combine(torch.maximum, fields, max(fields, key=lambda field: field.domain.scale).domain)


def difference(shape: Operand, *others: Operand) -> Field:
    """Remove shapes from a shape: the maximum of its distance and their negated distances.

    Args:
        shape: Mesh, function or field.
        *others: One or more of these to remove, in the same frame.

    Returns:
        The field of the difference, in the box of `shape`.

    Raises:
        ConfigError: As for `union`.
    """
    first, removed = as_field(shape), union(*others)
    return Field(lambda points: torch.maximum(first(points), -removed(points)), first.domain, first.device)


@check_arguments
def offset(shape: Operand, distance: float) -> Field:
    """Grow a shape by a distance, or shrink it by a negative one: subtract the distance.

    Args:
        shape: Mesh, function or field.
        distance: Distance in the units of the frame.

    Returns:
        The field of the shape; growing rounds convex edges. The box grows by a positive distance.

    Raises:
        ConfigError: As for `union`; or the distance is not finite.
    """
    if not math.isfinite(distance):
        raise ConfigError(f"the distance of an offset must be finite, got {distance}")
    field = as_field(shape)
    return Field(lambda points: field(points) - distance, _grown(field.domain, max(distance, 0.0)), field.device)


@check_arguments
def blend(first: Operand, second: Operand, width: float) -> Field:
    """Join two shapes and fill the crease between them: a smooth union.

    Args:
        first: Mesh, function or field.
        second: Another one in the same frame.
        width: Difference k > 0 of the distances, in the units of the frame, below which the shapes are blended; the
            union grows by at most k / 4.

    Returns:
        The field of the blended union.

    Raises:
        ConfigError: As for `union`; or the width is not positive and finite.
    """
    if not 0 < width < math.inf:
        raise ConfigError(f"the width of a blend must be positive and finite, got {width}")

    def smooth_minimum(a: Tensor, b: Tensor) -> Tensor:
        overlap = (width - (a - b).abs()).clamp(min=0) / width
        return torch.minimum(a, b) - overlap**2 * width / 4

    fields = _operands((first, second))
    return _combine(smooth_minimum, fields, _grown(_enclosing_box(fields), width / 4))


def _operands(shapes: Sequence[Operand]) -> list[Field]:
    if not shapes:
        raise ConfigError("expected one or more shapes, got none")
    return [as_field(shape) for shape in shapes]


def _combine(function: Callable[[Tensor, Tensor], Tensor], fields: Sequence[Field], domain: Similarity) -> Field:
    return Field(lambda points: reduce(function, (field(points) for field in fields)), domain, fields[0].device)


def _enclosing_box(fields: Sequence[Field]) -> Similarity:
    """Box that contains the boxes of all fields; the box of the first one if all are equal."""
    if all(field.domain == fields[0].domain for field in fields):
        return fields[0].domain
    corners = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T
    every = np.concatenate([field.domain.to_user(corners) for field in fields])
    low, high = every.min(0), every.max(0)
    return Similarity(tuple(((low + high) / 2).tolist()), 2 / float((high - low).max()))


def _grown(domain: Similarity, distance: float) -> Similarity:
    """Box that is larger by a distance on every side; the half side of a box is 1 / scale."""
    return Similarity(domain.center, 1 / (1 / domain.scale + distance), domain.yaw)
