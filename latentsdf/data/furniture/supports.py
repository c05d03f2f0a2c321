"""Supports that several families share: legs, runners, boards or a plinth under a rectangular body."""

from math import radians, tan
from typing import Literal

from manifold3d import Manifold

from latentsdf.data.furniture.solids import bar, block, both_sides, four_corners, lathe, post, rectangle, section, union

Support = Literal["square", "round", "turned", "sled", "panel", "plinth"]
"""Square or round legs, turned legs, two runners on posts, two boards, or a recessed block."""


def support(
    kind: Support,
    half_x: float,
    half_z: float,
    height: float,
    width: float,
    *,
    overlap: float,
    taper: float = 1.0,
    splay: float = 0.0,
) -> Manifold:
    """Build a support from the floor into the body above it, centered at x = z = 0.

    Args:
        kind: See `Support`.
        half_x: Half the width of the area that the support must stay within at its top.
        half_z: Half the depth of that area.
        height: Height of the lower side of the body.
        width: Thickness of legs, posts and boards.
        overlap: Distance by which the support reaches into the body.
        taper: Width of legs at the floor, relative to the top.
        splay: Outward tilt of square and round legs, in degrees.
    """
    top = height + overlap
    x, z = half_x - width / 2, half_z - width / 2
    if kind == "plinth":
        return block((width - half_x, 0.0, width - half_z), (half_x - width, top, half_z - width), 0.1 * width)
    if kind == "panel":
        board = block((half_x - width, 0.0, -half_z), (half_x, top, half_z), 0.1 * width)
        return both_sides(board)
    square = section(width, round=False)
    if kind == "sled":
        runner = bar((x, width / 2, -half_z), (x, width / 2, half_z), rectangle(width, width, 0.18 * width))
        posts = [post((x, width / 2, end * z), (x, top, end * z), square, square) for end in (-1, 1)]
        return both_sides(union([runner, *posts]))
    if kind == "turned":
        return four_corners(_turned_leg(height, top, width, taper).translate((x, 0.0, z)))
    upper = section(width, round=kind == "round")
    lean = tan(radians(splay)) * top
    return four_corners(post((x + lean, 0.0, z + lean), (x, top, z), upper * taper, upper))


def _turned_leg(height: float, top: float, width: float, taper: float) -> Manifold:
    """Leg of circular section: a foot, a slender shaft that swells below the middle, and a collar at the body."""
    radius = width / 2
    thin = radius * (0.55 + 0.25 * taper)
    profile = [
        (0.0, 0.0),
        (0.8 * radius * taper, 0.0),
        (thin, 0.12 * height),
        (radius, 0.35 * height),
        (thin, 0.75 * height),
        (radius, 0.88 * height),
        (radius, top),
        (0.0, top),
    ]
    return lathe(profile, 20)
