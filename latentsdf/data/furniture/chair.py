"""Chairs: a tapered seat on four legs, runners or a star base, a back of three kinds, with or without arm rests."""

from dataclasses import dataclass
from math import cos, pi, radians, sin, tan
from typing import Annotated, Literal

import numpy as np
from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import bar, block, both_sides, bowed, lathe, post, rectangle, section, slab, union
from latentsdf.data.furniture.supports import support

SPOKES = 5
"""Spokes of a star base."""


@dataclass(frozen=True)
class Chair(Parameters):
    """Dining or desk chair. Lengths in meters, angles in degrees."""

    STYLES = (
        {"legs": "square", "back": "slats", "slats": 4, "arms": False},
        {"legs": "square", "back": "solid", "slats": 4, "arms": True},
        {"legs": "round", "back": "ladder", "slats": 4, "arms": False},
        {"legs": "pedestal", "back": "solid", "slats": 4, "arms": True},
    )

    legs: Literal["square", "round", "pedestal", "sled"]
    """Straight legs with side rails, splayed round legs, a column on a star of five spokes, or two runners."""
    back: Literal["solid", "slats", "ladder"]
    """Filling of the back frame: a panel, upright slats, or three cross rails."""
    slats: Literal[3, 4, 5]
    """Number of upright slats."""
    arms: bool
    seat_width: Annotated[float, Range(0.38, 0.6, narrow=(0.428, 0.512))]
    seat_depth: Annotated[float, Range(0.38, 0.56, narrow=(0.42, 0.48))]
    seat_height: Annotated[float, Range(0.38, 0.52, narrow=(0.42, 0.48))]
    seat_thickness: Annotated[float, Range(0.036, 0.085, narrow=(0.041, 0.059))]
    seat_taper: Annotated[float, Range(0.78, 1.0, narrow=(0.904, 1.0))]
    """Width of the seat at the rear, relative to its width at the front."""
    leg_width: Annotated[float, Range(0.034, 0.058, narrow=(0.037, 0.047))]
    leg_taper: Annotated[float, Range(0.65, 1.0, narrow=(0.832, 1.0))]
    """Width of a leg at the floor, relative to its width at the seat."""
    leg_splay: Annotated[float, Range(0.0, 12.0, narrow=(3.6, 8.4))]
    """Outward tilt of round legs; square legs are tilted by a fifth of this angle."""
    back_height: Annotated[float, Range(0.28, 0.66, narrow=(0.392, 0.488))]
    back_lean: Annotated[float, Range(2.0, 18.0, narrow=(6.0, 12.0))]
    back_curve: Annotated[float, Range(0.0, 0.05, narrow=(0.0, 0.021))]
    """Distance of the middle of the back behind its posts."""
    back_thickness: Annotated[float, Range(0.023, 0.042, narrow=(0.024, 0.032))]
    arm_height: Annotated[float, Range(0.15, 0.25, narrow=(0.184, 0.226))]

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        outline = rectangle(self.seat_width, self.seat_depth, 0.035, back=self.seat_taper)
        seat = slab(outline, self.seat_height - self.seat_thickness, self.seat_thickness, 0.010)
        base = {"pedestal": _star_base, "sled": _runners}.get(self.legs, _four_legs)
        parts = [seat, base(self), _back(self)]
        if self.arms:
            parts.append(_arms(self))
        return union(parts)


def _half_width(chair: Chair, z: float) -> float:
    """Half the width of the seat at depth z."""
    return chair.seat_width / 2 * (1 + (chair.seat_taper - 1) * (0.5 - z / chair.seat_depth))


def _four_legs(chair: Chair) -> Manifold:
    straight = chair.legs == "square"
    lean = tan(radians(chair.leg_splay * (0.2 if straight else 1.0)))
    head_y = chair.seat_height - chair.seat_thickness / 2
    inset = chair.leg_width / 2 + (0.006 if straight else 0.045)
    upper = section(chair.leg_width, round=not straight)
    # Rails connect the legs: an apron that overlaps the seat for straight legs, low round bars for splayed ones.
    share = (chair.seat_height - chair.seat_thickness - 0.020) / head_y if straight else 0.45
    parts = []
    ends = []
    for end in (1, -1):
        z = end * (chair.seat_depth / 2 - inset)
        x = _half_width(chair, z) - inset
        foot = (x + lean * head_y, 0.0, z + end * lean * head_y)
        parts.append(post(foot, (x, head_y, z), upper * chair.leg_taper, upper))
        ends.append((x + (1 - share) * lean * head_y, share * head_y, z + end * (1 - share) * lean * head_y))
    rail = rectangle(0.022, 0.050, 0.004) if straight else section(0.024, round=True)
    front, rear = ends
    parts.append(bar(rear, front, rail))
    sides = both_sides(union(parts))
    middle = (np.add(front, rear) / 2).tolist()
    return union([sides, *(bar((-x, y, z), (x, y, z), rail) for x, y, z in ((front, rear) if straight else (middle,)))])


def _runners(chair: Chair) -> Manifold:
    """Two runners on posts."""
    half_x, half_z = _half_width(chair, -chair.seat_depth / 2) - 0.006, chair.seat_depth / 2 - 0.006
    under = chair.seat_height - chair.seat_thickness
    return support("sled", half_x, half_z, under, chair.leg_width, overlap=chair.seat_thickness / 2)


def _star_base(chair: Chair) -> Manifold:
    """Column on five tapered spokes, and a plate under the seat."""
    reach = 0.5 * (chair.seat_width + chair.seat_depth) / 2 + 0.03
    thick = chair.leg_width
    hub, under = 0.105, chair.seat_height - chair.seat_thickness
    radius = 0.6 * thick
    sleeve = [(0, 0.055), (1.3 * radius, 0.055), (1.3 * radius, hub + 0.03)]
    plate = [(0.12, under - 0.022), (0.12, under + 0.01), (0, under + 0.01)]
    column = lathe([*sleeve, (radius, hub + 0.05), (radius, under - 0.03), *plate])
    parts = [column]
    for spoke in range(SPOKES):
        angle = 2 * pi * (spoke / SPOKES) + pi / 2
        x, z = reach * cos(angle), reach * sin(angle)
        parts.append(bar((0.0, hub - 0.01, 0.0), (x, 0.055, z), section(thick, round=False), tip=chair.leg_taper))
        foot = section(1.15 * thick, round=True)
        parts.append(post((0.95 * x, 0.0, 0.95 * z), (0.95 * x, 0.080, 0.95 * z), foot, foot))
    return union(parts)


def _back(chair: Chair) -> Manifold:
    """Back of posts, rails and filling, built upright at z = 0, then tilted and moved to the rear of the seat."""
    half, width, thick = _back_half(chair), chair.leg_width, chair.back_thickness
    low, high = -chair.seat_thickness * 0.6, chair.back_height
    square = section(width, round=chair.legs == "round")
    posts = both_sides(post((half, low, 0.0), (half, high, 0.0), square, square * 0.85))
    rail = 0.17 * high

    def board(bottom: float, top: float) -> Manifold:
        return bowed(2 * half, top - bottom, thick, chair.back_curve).translate((0.0, (bottom + top) / 2, 0.0))

    boards = [board(high - rail - 0.012, high - 0.012)]
    if chair.back == "ladder":
        boards += [board(share * high, share * high + 0.8 * rail) for share in (0.22, 0.52)]
    elif chair.back == "solid":
        boards.append(board(0.20 * high, high - 0.8 * rail))
    else:
        boards.append(board(0.20 * high, 0.20 * high + 0.7 * rail))
        pitch = (2 * half - width) / (chair.slats + 0.6)
        wide, thin = 0.25 * pitch, 0.45 * thick
        for x in (np.arange(chair.slats) - (chair.slats - 1) / 2) * pitch:
            z = -chair.back_curve * (1 - (x / half) ** 2)
            boards.append(block((x - wide, 0.22 * high, z - thin), (x + wide, high - rail, z + thin), 0.005))
    z = -chair.seat_depth / 2 + width / 2 + 0.004
    return union([posts, *boards]).rotate((-chair.back_lean, 0.0, 0.0)).translate((0.0, chair.seat_height, z))


def _back_half(chair: Chair) -> float:
    """Distance of the axis of a back post from the plane x = 0."""
    return _half_width(chair, -chair.seat_depth / 2) - chair.leg_width / 2 - 0.004


def _arms(chair: Chair) -> Manifold:
    """Arm rest on each side, from the back post to an upright on the seat."""
    half, width = _back_half(chair), 0.85 * chair.leg_width
    y, z_back = chair.seat_height + chair.arm_height, -chair.seat_depth / 2 + chair.leg_width / 2
    z_back -= chair.arm_height * tan(radians(chair.back_lean))
    z_post = 0.22 * chair.seat_depth
    x_post = _half_width(chair, z_post) - width / 2 - 0.008
    rest = bar((half, y, z_back), (x_post, y, z_post + 0.06), rectangle(1.35 * width, 0.026, 0.008))
    square = section(width, round=chair.legs == "round")
    upright = post((x_post, chair.seat_height - 0.02, z_post), (x_post, y, z_post), square, square)
    return both_sides(rest + upright)
