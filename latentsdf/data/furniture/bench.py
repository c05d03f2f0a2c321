"""Benches: a long seat of boards, slats or upholstery on six kinds of supports, with or without back and arms."""

from dataclasses import dataclass
from math import radians, tan
from typing import Annotated, Literal

import numpy as np
from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import bar, block, both_sides, cushion, post, rectangle, section, union
from latentsdf.data.furniture.supports import Support, support


@dataclass(frozen=True)
class Bench(Parameters):
    """Indoor or garden bench. Lengths in meters, angles in degrees."""

    seat: Literal["board", "slats", "padded"]
    base: Support
    back: Literal["none", "rails", "slats", "panel"]
    """No back, two or three long rails, upright slats between two rails, or a panel."""
    arms: bool
    """Arm rests at the ends; only with a back."""
    shelf: bool
    """A low board between the supports; not with a plinth."""
    length: Annotated[float, Range(0.9, 1.9)]
    depth: Annotated[float, Range(0.34, 0.52)]
    height: Annotated[float, Range(0.40, 0.50)]
    thickness: Annotated[float, Range(0.04, 0.09)]
    leg_width: Annotated[float, Range(0.048, 0.09)]
    leg_taper: Annotated[float, Range(0.7, 1.0)]
    leg_splay: Annotated[float, Range(0.0, 8.0)]
    inset: Annotated[float, Range(0.0, 0.2)]
    """Distance of the supports from the ends of the seat; a plinth has three tenths of it."""
    back_height: Annotated[float, Range(0.30, 0.55)]
    back_lean: Annotated[float, Range(3.0, 16.0)]
    arm_height: Annotated[float, Range(0.17, 0.26)]
    shelf_height: Annotated[float, Range(0.22, 0.45)]
    """Height of the low board, relative to the seat."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        under = self.height - self.thickness
        inset = 0.3 * self.inset if self.base == "plinth" else self.inset
        half_x, half_z = self.length / 2 - inset, self.depth / 2 - 0.012
        legs = support(
            self.base,
            half_x - 0.012,
            half_z,
            under,
            self.leg_width,
            overlap=0.4 * self.thickness,
            taper=self.leg_taper,
            splay=self.leg_splay,
        )
        parts = [legs, *_seat(self, half_x)]
        if self.shelf and self.base != "plinth":
            parts.append(_shelf(self, half_x, half_z))
        if self.back != "none":
            parts.append(_back(self))
            if self.arms:
                parts.append(_arms(self))
        return union(parts)


def _seat(bench: Bench, half_x: float) -> list[Manifold]:
    half, under, top = bench.length / 2, bench.height - bench.thickness, bench.height
    if bench.seat == "board":
        return [block((-half, under, -bench.depth / 2), (half, top, bench.depth / 2), 0.2 * bench.thickness)]
    if bench.seat == "padded":
        deck = under + max(0.45 * bench.thickness, 0.024)
        board = block((-half, under, -bench.depth / 2), (half, deck, bench.depth / 2), 0.006)
        rear = -bench.depth / 2 if bench.back == "none" else 0.065 - bench.depth / 2
        pad = cushion((-half, deck - 0.01, rear), (half, top + 0.04, bench.depth / 2), 0.028)
        return [board, pad]
    count = round(bench.depth / 0.095)
    pitch = (bench.depth + 0.03) / count
    z = -bench.depth / 2
    slats = [
        block((-half, under + 0.012, z + n * pitch), (half, top, z + (n + 1) * pitch - 0.03), 0.006)
        for n in range(count)
    ]
    # Cross bars under the slats connect them over each support and in the middle.
    thick, ends = max(0.04, 0.8 * bench.leg_width), (bench.leg_width / 2 - half_x, 0.0, half_x - bench.leg_width / 2)
    cross = [
        block((x - thick / 2, under, z + 0.005), (x + thick / 2, under + 0.7 * bench.thickness, -z - 0.005), 0.004)
        for x in ends
    ]
    return slats + cross


def _shelf(bench: Bench, half_x: float, half_z: float) -> Manifold:
    """Low board that reaches into all legs, which lean outward below the seat."""
    y = bench.shelf_height * (bench.height - bench.thickness)
    leaning = bench.base in ("square", "round")
    out = tan(radians(bench.leg_splay)) * (bench.height - bench.thickness - y) if leaning else 0.0
    x, z = half_x - 0.012 - 0.3 * bench.leg_width + out, half_z - 0.3 * bench.leg_width + out
    return block((-x, y - 0.018, -z), (x, y + 0.018, z), 0.005)


def _back(bench: Bench) -> Manifold:
    """Back, built upright at z = 0, then tilted and moved to the rear of the seat."""
    high, half = bench.back_height, bench.length / 2 - 0.03
    square = section(0.05, round=False)
    low = -0.7 * bench.thickness
    posts = [both_sides(post((half - 0.025, low, 0.0), (half - 0.025, high, 0.0), square, square))]
    if bench.length > 1.4 and bench.back != "panel":
        posts.append(post((0.0, low, 0.0), (0.0, high - 0.01, 0.0), square, square))

    def rail(bottom: float, top: float) -> Manifold:
        return block((-half, bottom, -0.02), (half, top, 0.02), 0.006)

    if bench.back == "panel":
        parts = [rail(0.12 * high, high - 0.006)]
    elif bench.back == "rails":
        count = 3 if high > 0.42 else 2
        parts = [rail(y - 0.09, y) for y in np.linspace(0.45 * high, high - 0.004, count)]
    else:
        parts = [rail(0.14 * high, 0.14 * high + 0.06), rail(high - 0.08, high - 0.004)]
        slats = round(bench.length / 0.11)
        for x in (np.arange(1, slats) / slats - 0.5) * 2 * half:
            parts.append(block((x - 0.024, 0.15 * high, -0.017), (x + 0.024, high - 0.01, 0.017), 0.005))
    tilted = union([*posts, *parts]).rotate((-bench.back_lean, 0.0, 0.0))
    return tilted.translate((0.0, bench.height, -bench.depth / 2 + 0.03))


def _arms(bench: Bench) -> Manifold:
    x, y = bench.length / 2 - 0.055, bench.height + bench.arm_height
    rear = -bench.depth / 2 + 0.03 - bench.arm_height * tan(radians(bench.back_lean))
    front = bench.depth / 2 - 0.05
    rest = bar((x, y, rear), (x, y, front + 0.045), rectangle(0.065, 0.036, 0.008))
    square = section(0.045, round=False)
    return both_sides(rest + post((x, bench.height - 0.5 * bench.thickness, front), (x, y, front), square, square))
