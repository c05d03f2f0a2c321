"""Primitive solids for furniture, in meters with y up.

An outline is a convex polygon (N, 2) in (x, z) around the origin. Edges of boards and boxes are beveled. Parts must
overlap to be joined: `union` does not join parts that only touch.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from manifold3d import CrossSection, Manifold, OpType
from numpy.typing import NDArray

Outline = NDArray[np.float64]
Vector = tuple[float, float, float]


def rectangle(width: float, depth: float, radius: float, *, back: float = 1.0) -> Outline:
    """Rectangle with round corners.

    Args:
        width: Size along x at the front (+z) edge.
        depth: Size along z.
        radius: Corner radius.
        back: Width of the rear (-z) edge divided by the width of the front edge.
    """
    corner = np.linspace(0, np.pi / 2, 5)
    loop = []
    for quadrant, (sx, sz) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        angle = corner + quadrant * np.pi / 2
        center = np.array([sx * (width / 2 - radius), sz * (depth / 2 - radius)])
        loop.append(center + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    outline = np.concatenate(loop)
    outline[:, 0] *= 1 + (back - 1) * (0.5 - outline[:, 1] / depth)
    return outline


def ellipse(width: float, depth: float, segments: int = 16) -> Outline:
    """Ellipse with the full axes `width` along x and `depth` along z."""
    angle = np.arange(segments) * 2 * np.pi / segments
    return np.stack([width / 2 * np.cos(angle), depth / 2 * np.sin(angle)], axis=1)


def section(width: float, *, round: bool) -> Outline:
    """Cross section of a leg or a rail: a circle, or a square with rounded corners."""
    return ellipse(width, width) if round else rectangle(width, width, 0.18 * width)


def slab(outline: Outline, bottom: float, thickness: float, bevel: float) -> Manifold:
    """Horizontal board from y = bottom to bottom + thickness with beveled upper and lower edges."""
    inner = outline * (1 - bevel / np.abs(outline).max(axis=0))
    heights = (bottom, bottom + bevel, bottom + thickness - bevel, bottom + thickness)
    loops = zip((inner, outline, outline, inner), heights, strict=True)
    return Manifold.hull_points(np.concatenate([_at(loop, (0.0, y, 0.0)) for loop, y in loops]))


def block(low: Vector, high: Vector, bevel: float) -> Manifold:
    """Box between two corners with all edges beveled."""
    size, center = np.subtract(high, low, dtype=np.float64), np.add(high, low) / 2
    outline = rectangle(size[0], size[2], bevel)
    return slab(outline, low[1], size[1], bevel).translate((center[0], 0.0, center[2]))


def cushion(low: Vector, high: Vector, radius: float) -> Manifold:
    """Box between two corners with all edges and corners rounded, in steps of 30 degrees.

    Args:
        low: Corner with the smallest coordinates.
        high: Corner with the largest coordinates.
        radius: Radius of the edges, less than half of each side.
    """
    size, center = np.subtract(high, low, dtype=np.float64), np.add(high, low) / 2
    loops = []
    for angle in np.radians([0.0, 30.0, 60.0, 90.0]):
        inset = radius * (1 - np.cos(angle))
        # At 90 degrees the corner radius would be 0, which hulls of coincident points do not need.
        loop = rectangle(size[0] - 2 * inset, size[2] - 2 * inset, max(radius - inset, 0.05 * radius))
        rise = radius * np.sin(angle)
        loops += [_at(loop, (0.0, low[1] + radius - rise, 0.0)), _at(loop, (0.0, high[1] - radius + rise, 0.0))]
    return Manifold.hull_points(np.concatenate(loops)).translate((center[0], 0.0, center[2]))


def post(foot: Vector, head: Vector, lower: Outline, upper: Outline) -> Manifold:
    """Leg or column: convex hull of the outline `lower` at the foot and `upper` at the head, both horizontal."""
    return Manifold.hull_points(np.concatenate([_at(lower, foot), _at(upper, head)]))


def bar(start: Vector, end: Vector, outline: Outline, *, tip: float = 1.0) -> Manifold:
    """Rail between two points with ends perpendicular to its axis.

    Args:
        start: First end.
        end: Second end.
        outline: Cross section, with its second axis pointing up.
        tip: Scale of the cross section at the second end.
    """
    axis = np.subtract(end, start)
    axis = axis / np.linalg.norm(axis)
    side = np.cross(axis, (0.0, 1.0, 0.0))
    side = side / np.linalg.norm(side) if np.linalg.norm(side) > 1e-6 else np.array([1.0, 0.0, 0.0])
    frame = np.stack([side, np.cross(side, axis)])
    near, far = start + outline @ frame, end + tip * outline @ frame
    return Manifold.hull_points(np.concatenate([near, far]))


def bowed(width: float, height: float, thickness: float, bow: float) -> Manifold:
    """Upright board centered at the origin and bent as a parabola, with its middle at z = -bow."""
    profile = CrossSection([rectangle(thickness, height, 0.2 * thickness)])
    board = Manifold.extrude(profile, width, n_divisions=11).translate((0.0, 0.0, -width / 2)).rotate((0.0, 90.0, 0.0))

    def bend(points: NDArray[np.float64]) -> NDArray[np.float64]:
        points[:, 2] -= bow * (1 - (2 * points[:, 0] / width) ** 2)
        return points

    return board.warp_batch(bend)


def ball(center: Vector, radius: float) -> Manifold:
    """Sphere."""
    return Manifold.sphere(radius, 28).translate(center)


def lathe(profile: Sequence[tuple[float, float]], segments: int = 48) -> Manifold:
    """Solid of revolution about the y axis.

    Args:
        profile: Half profile as counter-clockwise points (radius, y).
        segments: Number of segments of the full circle.
    """
    return Manifold.revolve(CrossSection([np.asarray(profile)]), segments).rotate((-90.0, 0.0, 0.0))


def both_sides(part: Manifold) -> Manifold:
    """Union of a part and its mirror image across the plane x = 0."""
    return part + part.mirror((1.0, 0.0, 0.0))


def four_corners(part: Manifold) -> Manifold:
    """Union of a part and its mirror images across the planes x = 0 and z = 0."""
    pair = both_sides(part)
    return pair + pair.mirror((0.0, 0.0, 1.0))


def union(parts: Iterable[Manifold]) -> Manifold:
    """Boolean union of all parts."""
    return Manifold.batch_boolean(list(parts), OpType.Add)


def _at(outline: Outline, center: Vector) -> NDArray[np.float64]:
    """Horizontal points (N, 3) of an outline around a center."""
    return np.stack([outline[:, 0], np.zeros(len(outline)), outline[:, 1]], axis=1) + center
