"""Shelves and bookcases: boards between side panels or posts, with dividers, a rear panel and closed compartments."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import bar, block, both_sides, four_corners, post, section, union
from latentsdf.data.furniture.supports import support


@dataclass(frozen=True)
class Shelf(Parameters):
    """Bookcase or open shelf. Lengths in meters."""

    sides: Literal["panels", "posts"]
    """Side panels, or four posts at the corners."""
    base: Literal["floor", "square", "round", "plinth"]
    rows: Literal[2, 3, 4, 5, 6]
    """Number of compartments above each other."""
    columns: Literal[1, 2, 3]
    layout: Literal["aligned", "staggered", "random"]
    """Positions of the dividers: equal columns, columns shifted in every other row, or dividers absent in some rows."""
    rear: bool
    """A rear panel; shelves on posts without one have braces across the rear."""
    closed: Literal["none", "doors", "drawers"]
    """Front of the lowest row, which is solid inside if it is closed."""
    overhang: bool
    """The top board is larger than the body."""
    width: Annotated[float, Range(0.5, 1.6)]
    height: Annotated[float, Range(0.75, 2.1)]
    depth: Annotated[float, Range(0.25, 0.42)]
    board: Annotated[float, Range(0.032, 0.046)]
    growth: Annotated[float, Range(0.0, 0.5)]
    """Height of the lowest row over that of the highest, minus 1."""
    shift: Annotated[float, Range(0.15, 0.35)]
    """Offset of staggered dividers, relative to a column."""
    base_height: Annotated[float, Range(0.06, 0.18)]
    leg_width: Annotated[float, Range(0.045, 0.07)]

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        foot = 0.0 if self.base == "floor" else self.base_height
        half_x, half_z, thick = self.width / 2, self.depth / 2, self.board
        levels = _levels(self, foot)
        boards = [block((-half_x, y - thick, -half_z), (half_x, y, half_z), 0.004) for y in levels]
        parts = [*boards, *_dividers(self, levels), _sides(self, foot, levels[-1])]
        if self.rear:
            parts.append(block((-half_x, foot, -half_z), (half_x, levels[-1] - 0.004, -half_z + thick), 0.004))
        if self.sides == "posts" and not self.rear:
            parts.append(_braces(self, foot, levels[-1]))
        if self.closed != "none":
            parts.append(_front(self, levels))
        if self.overhang:
            low, high = levels[-1] - 0.5 * thick, levels[-1] + 0.5 * thick
            parts.append(block((-half_x - 0.025, low, -half_z - 0.005), (half_x + 0.025, high, half_z + 0.025), 0.006))
        if self.base != "floor":
            leg = min(self.leg_width, 0.3 * self.depth)
            parts.append(support(self.base, half_x - 0.015, half_z - 0.015, foot, leg, overlap=0.5 * thick, taper=0.8))
        return union(parts)


def _levels(shelf: Shelf, foot: float) -> list[float]:
    """Upper sides of all boards, from the lowest to the top one."""
    weights = np.linspace(1 + shelf.growth, 1.0, shelf.rows)
    heights = (shelf.height - foot - shelf.board) * np.cumsum(weights) / weights.sum()
    lowest = foot + shelf.board
    return [lowest, *(lowest + heights).tolist()]


def _dividers(shelf: Shelf, levels: list[float]) -> list[Manifold]:
    half, thick = shelf.width / 2, shelf.board
    column = shelf.width / shelf.columns
    parts = []
    for row in range(shelf.rows):
        for number in range(1, shelf.columns):
            if shelf.layout == "random" and (row + number) % 3 == 1:
                continue
            x = -half + number * column
            if shelf.layout == "staggered":
                x += shelf.shift * column * (1 if row % 2 else -1)
            box = (
                (x - thick / 2, levels[row] - 0.5 * thick, -shelf.depth / 2 + 0.004),
                (
                    x + thick / 2,
                    levels[row + 1] - 0.5 * thick,
                    shelf.depth / 2 - 0.004,
                ),
            )
            parts.append(block(*box, 0.004))
    return parts


def _sides(shelf: Shelf, foot: float, top: float) -> Manifold:
    half_x, half_z, thick = shelf.width / 2, shelf.depth / 2, shelf.board
    if shelf.sides == "panels":
        return both_sides(block((half_x - thick, foot, -half_z), (half_x, top, half_z), 0.004))
    square = section(thick, round=False)
    x, z = half_x - 0.3 * thick, half_z - 0.3 * thick
    return four_corners(post((x, foot, z), (x, top + 0.04, z), square, square))


def _braces(shelf: Shelf, foot: float, top: float) -> Manifold:
    """Two crossing bars between the rear posts."""
    x, z = shelf.width / 2 - 0.3 * shelf.board, -shelf.depth / 2 + 0.3 * shelf.board
    strip = section(0.9 * shelf.board, round=False)
    low, high = foot + 0.1 * (top - foot), foot + 0.9 * (top - foot)
    return bar((-x, low, z), (x, high, z), strip) + bar((x, low, z), (-x, high, z), strip)


def _front(shelf: Shelf, levels: list[float]) -> Manifold:
    """Doors or drawers with knobs in front of the lowest row, which is solid inside."""
    half, front = shelf.width / 2, shelf.depth / 2 - 0.008
    low, high = levels[0] - 0.5 * shelf.board, levels[1] - 0.5 * shelf.board
    knob = section(0.036, round=True)
    rows = 2 if shelf.closed == "drawers" and high - low > 0.34 else 1
    columns = max(2, shelf.columns) if shelf.closed == "doors" else shelf.columns
    parts = [block((-half + 0.002, low, 0.004 - shelf.depth / 2), (half - 0.002, high, front - 0.022), 0.002)]
    pitch, tall = (2 * half - 2 * shelf.board) / columns, (high - low - 0.5 * shelf.board) / rows
    for row in range(rows):
        for column in range(columns):
            left, bottom = -half + shelf.board + column * pitch, low + 0.5 * shelf.board + row * tall
            right, top = left + pitch, bottom + tall
            parts.append(
                block((left + 0.012, bottom + 0.012, front - 0.04), (right - 0.012, top - 0.012, front), 0.004)
            )
            x, y = (left + right) / 2, (bottom + top) / 2
            if shelf.closed == "doors":
                x = right - 0.06 if column % 2 == 0 else left + 0.06
                y = bottom + 0.7 * tall
            parts.append(bar((x, y, front - 0.01), (x, y, front + 0.032), knob))
    return union(parts)
