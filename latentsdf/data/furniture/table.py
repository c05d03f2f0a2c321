"""Tables: a beveled top of three outlines on four legs, a pedestal or a trestle, with or without a lower shelf."""

from dataclasses import dataclass
from math import radians, tan
from typing import Annotated, Literal

from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import (
    Outline,
    bar,
    block,
    both_sides,
    ellipse,
    lathe,
    post,
    rectangle,
    section,
    slab,
    union,
)


@dataclass(frozen=True)
class Table(Parameters):
    """Dining or coffee table. Lengths in meters, angles in degrees."""

    STYLES = (
        {"top": "rectangle", "base": "legs", "shelf": False},
        {"top": "oval", "base": "legs", "shelf": True},
        {"top": "round", "base": "pedestal", "shelf": False},
        {"top": "rectangle", "base": "trestle", "shelf": True},
    )

    top: Literal["rectangle", "oval", "round"]
    base: Literal["legs", "pedestal", "trestle"]
    shelf: bool
    """Low board between four legs. It is ignored by a trestle, and makes the foot of a pedestal thicker."""
    width: Annotated[float, Range(0.7, 2.0, narrow=(1.03, 1.27))]
    depth: Annotated[float, Range(0.55, 1.0, narrow=(0.666, 0.804))]
    """Size along z; the diameter of a round top is the mean of width and depth."""
    height: Annotated[float, Range(0.38, 0.95, narrow=(0.6, 0.75))]
    top_thickness: Annotated[float, Range(0.035, 0.08, narrow=(0.039, 0.055))]
    corner_radius: Annotated[float, Range(0.015, 0.14, narrow=(0.036, 0.084))]
    leg_width: Annotated[float, Range(0.05, 0.1, narrow=(0.056, 0.074))]
    leg_taper: Annotated[float, Range(0.62, 1.0, narrow=(0.76, 1.0))]
    """Width of a leg at the floor, relative to its width at the top."""
    leg_splay: Annotated[float, Range(0.0, 9.0, narrow=(0.0, 4.2))]
    apron_height: Annotated[float, Range(0.05, 0.13, narrow=(0.07, 0.1))]
    overhang: Annotated[float, Range(0.03, 0.12, narrow=(0.052, 0.088))]
    """Overhang of the top beyond the apron."""
    low_height: Annotated[float, Range(0.18, 0.45, narrow=(0.228, 0.312))]
    """Height of the shelf or of the beam of a trestle, relative to the height of the table."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        under = self.height - self.top_thickness
        top = slab(_outline(self), under, self.top_thickness, 0.25 * self.top_thickness)
        base = {"legs": _four_legs, "pedestal": _pedestal, "trestle": _trestle}[self.base]
        return top + base(self, under + 0.4 * self.top_thickness)


def _size(table: Table) -> tuple[float, float]:
    """Full width and depth of the top."""
    if table.top == "round":
        return (table.width + table.depth) / 2, (table.width + table.depth) / 2
    return table.width, table.depth


def _outline(table: Table) -> Outline:
    width, depth = _size(table)
    if table.top == "rectangle":
        return rectangle(width, depth, table.corner_radius)
    return ellipse(width, depth, 56)


def _frame(table: Table) -> tuple[float, float]:
    """Half width and half depth of the rectangular apron, which lies within the outline of the top."""
    inside = 1.0 if table.top == "rectangle" else 0.72
    width, depth = _size(table)
    return inside * width / 2 - table.overhang, inside * depth / 2 - table.overhang


def _four_legs(table: Table, top: float) -> Manifold:
    """Legs at the corners of an apron; round legs unless the top is a rectangle."""
    half_x, half_z = _frame(table)
    under = table.height - table.top_thickness
    upper = section(table.leg_width, round=table.top != "rectangle")
    lean = tan(radians(table.leg_splay)) * top
    x, z = half_x - table.leg_width / 2, half_z - table.leg_width / 2
    leg = both_sides(post((x + lean, 0.0, z + lean), (x, top, z), upper * table.leg_taper, upper))
    rim, board = under - table.apron_height, 0.45 * table.leg_width
    side = both_sides(block((x - board / 2, rim, -z), (x + board / 2, top, z), 0.004))
    front = block((-x, rim, z - board / 2), (x, top, z + board / 2), 0.004)
    parts = [leg, leg.mirror((0.0, 0.0, 1.0)), side, front, front.mirror((0.0, 0.0, 1.0))]
    if table.shelf:
        y = table.low_height * table.height
        spread = lean * (1 - y / top)
        outline = rectangle(2 * (x + spread) + 0.3 * table.leg_width, 2 * (z + spread) + 0.3 * table.leg_width, 0.01)
        parts.append(slab(outline, y, 0.030, 0.006))
    return union(parts)


def _pedestal(table: Table, top: float) -> Manifold:
    """Turned column that flares into a disc at the floor and a plate under the top; stretched under an oval top."""
    width, depth = _size(table)
    neck = 0.75 * table.leg_width
    foot = 0.23 * min(width, depth) + table.overhang
    rise = 0.055 if table.shelf else 0.035
    waist, bowl = table.low_height * table.height, neck * (2.0 - 0.8 * table.leg_taper)
    flare = 0.9 * foot
    under = table.height - table.top_thickness
    profile = [
        (0.0, 0.0),
        (foot, 0.0),
        (foot, rise),
        (0.55 * foot, rise + 0.025),
        (bowl * 1.15, rise + 0.07),
        (bowl, waist),
        (neck, 0.62 * under + 0.38 * waist),
        (neck, under - table.apron_height),
        (neck * 1.3, under - 0.6 * table.apron_height),
        (flare, under - 0.030),
        (flare, top),
        (0.0, top),
    ]
    stretch = 1.0 if table.top == "round" else (width / depth) ** 0.7
    return lathe(profile, 40).scale((stretch, 1.0, 1.0))


def _trestle(table: Table, top: float) -> Manifold:
    """Two end frames of a foot, two slanted legs and a head, connected by a beam."""
    half_x, half_z = _frame(table)
    width = table.leg_width
    x, under = 0.80 * half_x, table.height - table.top_thickness
    sole, reach = 0.9 * width, half_z + 0.3 * table.overhang
    foot = block((x - width / 2, 0.0, -reach), (x + width / 2, sole, reach), 0.010)
    rim, wide = under - 0.8 * table.apron_height, 0.9 * reach
    head = block((x - width / 2, rim, -wide), (x + width / 2, top, wide), 0.010)
    spread = tan(radians(table.leg_splay)) * under * 0.5 + 0.30 * half_z
    square = section(width, round=False)
    leg = post((x, 0.5 * sole, spread), (x, under - 0.02, 0.30 * half_z), square * (0.5 + table.leg_taper / 2), square)
    # On a low table, the tie would reach below the floor.
    y = max(table.low_height * table.height, 0.75 * width + 0.01)
    # The tie is thicker than legs and beam, and the beam ends in it, so that no narrow gap remains between them.
    end, thick, tall = x - 0.4 * width, 0.56 * width, 0.75 * width
    beam = bar((-end, y, 0.0), (end, y, 0.0), rectangle(0.7 * width, 1.4 * width, 0.008))
    tie = block((x - thick, y - tall, -spread), (x + thick, y + tall, spread), 0.008)
    return both_sides(union([foot, head, leg, leg.mirror((0.0, 0.0, 1.0)), tie])) + beam
