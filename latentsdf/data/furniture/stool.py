"""Stools and bar stools: a seat of four kinds on legs, runners, a pedestal or a star, with or without a low back."""

from dataclasses import dataclass
from math import cos, pi, radians, sin, tan
from typing import Annotated, Literal

from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import (
    Vector,
    bar,
    both_sides,
    bowed,
    cushion,
    ellipse,
    lathe,
    post,
    rectangle,
    section,
    slab,
    union,
)


@dataclass(frozen=True)
class Stool(Parameters):
    """Stool without arms. Lengths in meters, angles in degrees."""

    seat: Literal["round", "square", "padded", "saddle"]
    """A disc, a square board, an upholstered square, or a board bent along x."""
    base: Literal["four", "three", "disc", "star"]
    """Four or three legs, or a column on a disc or on a star of five spokes."""
    round_legs: bool
    ring: bool
    """A foot rest: rails between the legs, or a ring around the column with four arms."""
    back: bool
    """A low, bent back on two posts."""
    width: Annotated[float, Range(0.30, 0.46)]
    depth_ratio: Annotated[float, Range(0.82, 1.0)]
    """Depth of the seat, relative to its width; round seats are circular."""
    height: Annotated[float, Range(0.40, 0.80)]
    thickness: Annotated[float, Range(0.032, 0.075)]
    leg_width: Annotated[float, Range(0.030, 0.052)]
    leg_taper: Annotated[float, Range(0.7, 1.0)]
    splay: Annotated[float, Range(2.0, 12.0)]
    ring_height: Annotated[float, Range(0.25, 0.45)]
    """Height of the foot rest, relative to the seat."""
    foot_width: Annotated[float, Range(0.36, 0.48)]
    """Diameter of a disc or a star at the floor."""
    back_height: Annotated[float, Range(0.16, 0.34)]

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        parts = [_seat(self), _column(self) if self.base in ("disc", "star") else _legs(self)]
        if self.back:
            parts.append(_back(self))
        return union(parts)


def _depth(stool: Stool) -> float:
    return stool.width * (1.0 if stool.seat == "round" else stool.depth_ratio)


def _seat(stool: Stool) -> Manifold:
    width, depth, thick = stool.width, _depth(stool), stool.thickness
    under = stool.height - thick
    if stool.seat == "round":
        return slab(ellipse(width, width, 48), under, thick, 0.25 * thick)
    if stool.seat == "square":
        return slab(rectangle(width, depth, 0.12 * width), under, thick, 0.25 * thick)
    if stool.seat == "padded":
        board = slab(rectangle(width - 0.02, depth - 0.02, 0.03), under, thick, 0.006)
        low, high = (-width / 2, under + 0.4 * thick, -depth / 2), (width / 2, stool.height + 0.05, depth / 2)
        return board + cushion(low, high, 0.03)
    # A saddle is lowest in the middle: a bent board that lies on its side.
    bent = bowed(width, depth, max(thick, 0.04), 0.035).rotate((-90.0, 0.0, 0.0))
    return bent.translate((0.0, stool.height - thick / 2, 0.0)) + slab(
        rectangle(0.8 * width, 0.8 * depth, 0.02), under - 0.05, 0.5 * thick + 0.015, 0.005
    )


def _legs(stool: Stool) -> Manifold:
    count, thick = (4 if stool.base == "four" else 3), stool.leg_width
    top = stool.height - 0.55 * stool.thickness
    lean = tan(radians(stool.splay))
    turn = pi / 4 if count == 4 else pi / 2
    reach = (0.5 if count == 3 or stool.seat == "round" else 0.62) * min(stool.width, _depth(stool)) - thick
    upper = section(thick, round=stool.round_legs)

    def at(leg: int, y: float) -> Vector:
        angle, distance = turn + 2 * pi * leg / count, reach + lean * (top - y)
        return distance * cos(angle), y, distance * sin(angle)

    parts = [post(at(leg, 0.0), at(leg, top), upper * stool.leg_taper, upper) for leg in range(count)]
    if stool.seat == "saddle":
        parts.append(slab(rectangle(2.2 * thick + reach, 2.2 * thick + reach, 0.01), top - 0.05, 0.04, 0.005))
    if stool.ring:
        rail, y = section(0.75 * thick + 0.004, round=stool.round_legs), stool.ring_height * stool.height
        parts += [bar(at(leg, y), at(leg + 1, y), rail) for leg in range(count)]
    return union(parts)


def _column(stool: Stool) -> Manifold:
    """Column on a disc or a star, with a plate under the seat and, optionally, a ring on four arms."""
    radius, foot = 0.65 * stool.leg_width, stool.foot_width / 2
    under = stool.height - stool.thickness
    plate = under - (0.05 if stool.seat == "saddle" else 0.025)
    disc = [(0.0, 0.0), (foot, 0.0), (foot, 0.018), (0.35 * foot, 0.045), (radius, 0.09)]
    sleeve = [(0.0, 0.03), (1.4 * radius, 0.03), (1.4 * radius, 0.11), (radius, 0.13)]
    head = [
        (radius, plate - 0.03),
        (0.3 * stool.width, plate),
        (0.3 * stool.width, under + 0.012),
        (0.0, under + 0.012),
    ]
    parts = [lathe([*(disc if stool.base == "disc" else sleeve), *head], 32)]
    if stool.base == "star":
        thick = section(0.9 * stool.leg_width, round=stool.round_legs)
        for spoke in range(5):
            angle = pi / 2 + 2 * pi * spoke / 5
            x, z = foot * cos(angle), foot * sin(angle)
            parts.append(bar((0.0, 0.085, 0.0), (x, 0.035, z), thick, tip=stool.leg_taper))
            glide = section(stool.leg_width, round=True)
            parts.append(post((0.93 * x, 0.0, 0.93 * z), (0.93 * x, 0.06, 0.93 * z), glide, glide))
    if stool.ring:
        y, middle, half = stool.ring_height * stool.height, 0.8 * foot, 0.013
        tube = [
            (middle - half, y - half),
            (middle + half, y - half),
            (middle + half, y + half),
            (middle - half, y + half),
        ]
        arms = [
            bar((0.0, y, 0.0), (middle * cos(a), y, middle * sin(a)), section(0.024, round=True))
            for a in (0.0, pi / 2, pi, 3 * pi / 2)
        ]
        parts += [lathe(tube, 40), *arms]
    return union(parts)


def _back(stool: Stool) -> Manifold:
    half, thick = 0.3 * stool.width, 0.85 * stool.leg_width
    z = -0.36 * _depth(stool)
    low = stool.height - 0.5 * stool.thickness - (0.03 if stool.seat == "saddle" else 0.0)
    high = stool.height + stool.back_height + (0.05 if stool.seat == "padded" else 0.0)
    square = section(thick, round=stool.round_legs)
    posts = both_sides(post((half, low, z), (half, high - 0.02, z - 0.04), square, square))
    board = bowed(2 * half + 2 * thick, 0.085, 0.03, 0.035).translate((0.0, high - 0.045, z - 0.028))
    return posts + board
