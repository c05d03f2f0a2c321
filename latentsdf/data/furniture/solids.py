"""The few convex solids furniture is put together from, in metres with y up.

Outlines are convex loops (N, 2) of (x, z) around the origin. Edges are bevelled, as real
ones are. Parts that shall join must overlap: `union` keeps touching parts apart.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from manifold3d import CrossSection, Manifold, OpType
from numpy.typing import NDArray

Outline = NDArray[np.float64]
Vector = tuple[float, float, float]


def rectangle(width: float, depth: float, radius: float, *, back: float = 1.0) -> Outline:
    """A rectangle with round corners; its rear (-z) edge is `back` times as wide as its front."""
    corner = np.linspace(0, np.pi / 2, 5)
    loop = []
    for quadrant, (sx, sz) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angle = corner + quadrant * np.pi / 2
        centre = np.array([sx * (width / 2 - radius), sz * (depth / 2 - radius)])
        loop.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    outline = np.concatenate(loop)
    outline[:, 0] *= 1 + (back - 1) * (0.5 - outline[:, 1] / depth)
    return outline


def ellipse(width: float, depth: float, segments: int = 16) -> Outline:
    """An ellipse with the given full axes."""
    angle = np.arange(segments) * 2 * np.pi / segments
    return np.stack([width / 2 * np.cos(angle), depth / 2 * np.sin(angle)], axis=1)


def section(width: float, *, round: bool) -> Outline:
    """The cross section of a leg or a rail: a circle, or a square with softened corners."""
    return ellipse(width, width) if round else rectangle(width, width, 0.18 * width)


def slab(outline: Outline, bottom: float, thickness: float, bevel: float) -> Manifold:
    """A horizontal board from y = bottom to bottom + thickness, its upper and lower edges bevelled."""
    inner = outline * (1 - bevel / np.abs(outline).max(axis=0))
    heights = (bottom, bottom + bevel, bottom + thickness - bevel, bottom + thickness)
    loops = zip((inner, outline, outline, inner), heights, strict=True)
    return Manifold.hull_points(np.concatenate([_at(loop, (0.0, y, 0.0)) for loop, y in loops]))


def block(low: Vector, high: Vector, bevel: float) -> Manifold:
    """A box between two corners with all edges softened by `bevel`."""
    size, centre = np.subtract(high, low), np.add(high, low) / 2
    outline = rectangle(size[0], size[2], bevel)
    return slab(outline, low[1], size[1], bevel).translate((centre[0], 0.0, centre[2]))


def post(foot: Vector, head: Vector, lower: Outline, upper: Outline) -> Manifold:
    """A leg or a column: `lower` at the foot, `upper` at the head, both cut level so that it stands flat."""
    return Manifold.hull_points(np.concatenate([_at(lower, foot), _at(upper, head)]))


def bar(start: Vector, end: Vector, outline: Outline, *, tip: float = 1.0) -> Manifold:
    """A rail between two points, cut square: `outline` across it, second axis upward, scaled by `tip` at the end."""
    axis = np.subtract(end, start)
    axis = axis / np.linalg.norm(axis)
    side = np.cross(axis, (0.0, 1.0, 0.0))
    side = side / np.linalg.norm(side) if np.linalg.norm(side) > 1e-6 else np.array([1.0, 0.0, 0.0])
    frame = np.stack([side, np.cross(side, axis)])
    near, far = start + outline @ frame, end + tip * outline @ frame
    return Manifold.hull_points(np.concatenate([near, far]))


def bowed(width: float, height: float, thickness: float, bow: float) -> Manifold:
    """An upright board centred at the origin, its middle `bow` behind (-z) its two ends."""
    profile = CrossSection([rectangle(thickness, height, 0.2 * thickness)])
    board = Manifold.extrude(profile, width, n_divisions=11).translate((0.0, 0.0, -width / 2)).rotate((0.0, 90.0, 0.0))

    def bend(points: NDArray[np.float64]) -> NDArray[np.float64]:
        points[:, 2] -= bow * (1 - (2 * points[:, 0] / width) ** 2)
        return points

    return board.warp_batch(bend)


def ball(centre: Vector, radius: float) -> Manifold:
    """A sphere."""
    return Manifold.sphere(radius, 28).translate(centre)


def lathe(profile: Sequence[tuple[float, float]], segments: int = 48) -> Manifold:
    """A solid of revolution about the y axis from its half profile of (radius, y), counter-clockwise."""
    return Manifold.revolve(CrossSection([np.asarray(profile)]), segments).rotate((-90.0, 0.0, 0.0))


def both_sides(part: Manifold) -> Manifold:
    """A part and its mirror image across the plane x = 0."""
    return part + part.mirror((1.0, 0.0, 0.0))


def union(parts: Iterable[Manifold]) -> Manifold:
    """All parts as one solid."""
    return Manifold.batch_boolean(list(parts), OpType.Add)


def _at(outline: Outline, centre: Vector) -> NDArray[np.float64]:
    """An outline as level points (N, 3) around a centre."""
    return np.stack([outline[:, 0], np.zeros(len(outline)), outline[:, 1]], axis=1) + centre
