"""Beds: a mattress on a frame, with a headboard, a footboard, pillows and, optionally, four posts with a canopy."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import Outline, bar, block, cushion, ellipse, four_corners, post, section, union
from latentsdf.data.furniture.supports import support


@dataclass(frozen=True)
class Bed(Parameters):
    """Single or double bed; the head is at -z. Lengths in meters."""

    headboard: Literal["none", "panel", "slats", "arch", "padded"]
    footboard: Literal["none", "low", "slats"]
    base: Literal["square", "round", "turned", "panel", "plinth"]
    pillows: Literal[0, 1, 2]
    """Pillows at the head; two only on a mattress wider than 1.2 m."""
    blanket: bool
    """A blanket covers the lower part of the mattress."""
    canopy: bool
    """Posts at the corners, connected at their tops."""
    width: Annotated[float, Range(0.85, 1.95)]
    length: Annotated[float, Range(1.85, 2.15)]
    frame_height: Annotated[float, Range(0.22, 0.42)]
    """Height of the upper side of the frame."""
    frame_thickness: Annotated[float, Range(0.09, 0.16)]
    mattress: Annotated[float, Range(0.14, 0.30)]
    leg_width: Annotated[float, Range(0.06, 0.12)]
    margin: Annotated[float, Range(0.02, 0.08)]
    """Width of the frame that the mattress leaves free on each side."""
    head_height: Annotated[float, Range(0.25, 0.80)]
    """Height of the headboard above the mattress."""
    head_thickness: Annotated[float, Range(0.05, 0.12)]
    foot_height: Annotated[float, Range(0.05, 0.40)]
    """Height of the footboard above the frame."""
    canopy_height: Annotated[float, Range(1.70, 2.15)]
    pillow_depth: Annotated[float, Range(0.34, 0.50)]
    cover: Annotated[float, Range(0.45, 0.75)]
    """Length of the blanket, relative to the mattress."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        half_x, half_z = self.width / 2, self.length / 2
        low = self.frame_height - self.frame_thickness
        frame = block((-half_x, low, -half_z), (half_x, self.frame_height, half_z), 0.012)
        legs = support(self.base, half_x - 0.01, half_z - 0.01, low, self.leg_width, overlap=0.04, taper=0.8)
        parts = [frame, legs, *_bedding(self), *_head(self), *_foot(self)]
        if self.canopy:
            parts.append(_canopy(self))
        return union(parts)


def _bedding(bed: Bed) -> list[Manifold]:
    half_x, half_z = bed.width / 2 - bed.margin, bed.length / 2 - bed.margin
    top = bed.frame_height + bed.mattress
    # A gap between the mattress and a board would become a void under the bedding.
    rear = -half_z if bed.headboard == "none" else -bed.length / 2
    front = half_z if bed.footboard == "none" else bed.length / 2
    parts = [cushion((-half_x, bed.frame_height - 0.03, rear), (half_x, top, front), 0.045)]
    if bed.blanket:
        start = half_z - bed.cover * 2 * half_z
        drop = bed.frame_height + 0.25 * bed.mattress
        parts.append(cushion((-half_x - 0.015, drop, start), (half_x + 0.015, top + 0.035, half_z + 0.012), 0.04))
    count = min(bed.pillows, 2 if half_x > 0.6 else 1)
    wide = min(0.72, (2 * half_x - 0.1) / max(count, 1) - 0.06)
    for pillow in range(count):
        x = (pillow - (count - 1) / 2) * (wide + 0.08)
        z = -half_z + 0.06
        box = (x - wide / 2, top - 0.03, z), (x + wide / 2, top + 0.10, z + bed.pillow_depth)
        parts.append(cushion(*box, 0.055))
    return parts


def _head(bed: Bed) -> list[Manifold]:
    half, top = bed.width / 2, bed.frame_height + bed.mattress + bed.head_height
    low, thick = bed.frame_height - bed.frame_thickness, bed.head_thickness
    rear = -bed.length / 2 - 0.6 * thick
    if bed.headboard == "none":
        return []
    if bed.headboard == "slats":
        return [_slatted(half, low, top, rear + thick / 2, thick)]
    if bed.headboard == "padded":
        return [cushion((-half - 0.03, low, rear), (half + 0.03, top, rear + thick + 0.03), 0.4 * thick)]
    board = block((-half, low, rear), (half, top, rear + thick), 0.012)
    if bed.headboard == "panel":
        return [board]
    # The arch is half an elliptic disc whose lower half is inside the board.
    disc = _upright(ellipse(2 * half - 0.01, 0.5 * half, 48), thick).translate((0.0, top - 0.02, rear + thick / 2))
    return [board, disc]


def _foot(bed: Bed) -> list[Manifold]:
    if bed.footboard == "none":
        return []
    half, top = bed.width / 2, bed.frame_height + bed.foot_height
    low, thick = bed.frame_height - bed.frame_thickness, 0.8 * bed.head_thickness
    front = bed.length / 2 + 0.6 * thick
    if bed.footboard == "slats" and bed.foot_height > 0.15:
        return [_slatted(half, low, top, front - thick / 2, thick)]
    return [block((-half, low, front - thick), (half, top, front), 0.01)]


def _slatted(half: float, low: float, top: float, z: float, thick: float) -> Manifold:
    """Upright frame of two posts and two rails, filled with slats about 0.16 m apart."""
    rail = 0.08
    parts = [block((-half, y, z - thick / 2), (half, y + rail, z + thick / 2), 0.01) for y in (low, top - rail)]
    parts += [
        block((side - 0.04, low, z - thick / 2), (side + 0.04, top - 0.005, z + thick / 2), 0.01)
        for side in (0.04 - half, half - 0.04)
    ]
    count = max(2, round((2 * half - 0.08) / 0.16) - 1)
    for x in (np.arange(1, count + 1) / (count + 1) - 0.5) * (2 * half - 0.08):
        parts.append(block((x - 0.022, low + 0.01, z - 0.022), (x + 0.022, top - 0.01, z + 0.022), 0.006))
    return union(parts)


def _upright(outline: Outline, thick: float) -> Manifold:
    """Board with an outline in the plane z = 0, centered there."""
    ends = [np.insert(outline, 2, z, axis=1) for z in (-thick / 2, thick / 2)]
    return Manifold.hull_points(np.concatenate(ends))


def _canopy(bed: Bed) -> Manifold:
    width, top = max(0.05, 0.7 * bed.leg_width), bed.canopy_height
    x, z = bed.width / 2 - width / 2, bed.length / 2 - width / 2
    square = section(width, round=False)
    low = bed.frame_height - 0.5 * bed.frame_thickness
    posts = four_corners(post((x, low, z), (x, top, z), square, square))
    y, bars = top - width / 2, []
    for side in (-1, 1):
        bars.append(bar((side * x, y, -z), (side * x, y, z), square))
        bars.append(bar((-x, y, side * z), (x, y, side * z), square))
    return union([posts, *bars])
