"""Cabinets: a carcass with open compartments above doors, drawers or shelves, on feet or a plinth."""

from dataclasses import dataclass
from math import radians, tan
from typing import Annotated, Literal

from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import bar, block, both_sides, post, rectangle, section, slab, union


@dataclass(frozen=True)
class Cabinet(Parameters):
    """Sideboard or small wardrobe. Lengths in meters, angles in degrees. Closed parts are solid inside."""

    STYLES = (
        {"front": "doors", "base": "feet", "handle": "bar"},
        {"front": "drawers", "base": "plinth", "handle": "knob"},
        {"front": "shelves", "base": "feet", "handle": "knob"},
        {"front": "doors", "base": "plinth", "handle": "knob"},
    )

    front: Literal["doors", "drawers", "shelves"]
    """Lower part: two doors, three drawers, or two more compartments."""
    base: Literal["feet", "plinth"]
    handle: Literal["bar", "knob"]
    width: Annotated[float, Range(0.5, 1.6, narrow=(0.82, 1.0))]
    depth: Annotated[float, Range(0.3, 0.55, narrow=(0.364, 0.436))]
    height: Annotated[float, Range(0.6, 1.5, narrow=(0.87, 1.08))]
    """Height of the carcass, without the base."""
    board: Annotated[float, Range(0.03, 0.05, narrow=(0.031, 0.039))]
    """Thickness of sides, shelves and lid."""
    split: Annotated[float, Range(0.35, 0.75, narrow=(0.516, 0.624))]
    """Height of the board below the open part, relative to the height of the carcass."""
    divide: Annotated[float, Range(0.3, 0.7, narrow=(0.44, 0.56))]
    """Position of the upright that divides the open part, relative to its width."""
    shelf: Annotated[float, Range(0.35, 0.65, narrow=(0.452, 0.548))]
    """Height of the shelf on the left side of the open part, relative to its height."""
    base_height: Annotated[float, Range(0.06, 0.2, narrow=(0.086, 0.134))]
    foot_width: Annotated[float, Range(0.042, 0.08, narrow=(0.046, 0.056))]
    foot_splay: Annotated[float, Range(0.0, 12.0, narrow=(0.0, 6.0))]
    lid_overhang: Annotated[float, Range(0.004, 0.04, narrow=(0.008, 0.018))]
    handle_size: Annotated[float, Range(0.026, 0.042, narrow=(0.028, 0.034))]
    panel_depth: Annotated[float, Range(0.02, 0.036, narrow=(0.024, 0.028))]
    """Distance by which doors and drawers protrude from their frame."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        return union([_carcass(self), _fronts(self), _base(self)])


def _carcass(cabinet: Cabinet) -> Manifold:
    """Body with compartments cut out from the front, and an overhanging lid."""
    half, depth, low = cabinet.width / 2, cabinet.depth, cabinet.base_height
    body = block((-half, low, -depth / 2), (half, low + cabinet.height, depth / 2), 0.006)
    over = cabinet.lid_overhang
    outline = rectangle(cabinet.width + 2 * over, depth + 2 * over, 0.010)
    lid = slab(outline, low + cabinet.height - 0.012, cabinet.board, 0.006)
    return (body - union(_compartments(cabinet))) + lid


def _compartments(cabinet: Cabinet) -> list[Manifold]:
    board, half, low = cabinet.board, cabinet.width / 2 - cabinet.board, cabinet.base_height
    floor, top = low + cabinet.split * cabinet.height, low + cabinet.height - 0.5 * board
    wall = -half + cabinet.divide * 2 * half
    middle = floor + cabinet.shelf * (top - floor)

    def hollow(left: float, right: float, bottom: float, ceiling: float) -> Manifold:
        return block((left, bottom, -cabinet.depth / 2 + board), (right, ceiling, cabinet.depth), 0.004)

    cuts = [
        hollow(-half, wall - board / 2, floor, middle - board / 2),
        hollow(-half, wall - board / 2, middle + board / 2, top),
        hollow(wall + board / 2, half, floor, top),
    ]
    if cabinet.front == "shelves":
        rest = low + board, floor - board
        center = (rest[0] + rest[1]) / 2
        cuts += [hollow(-half, half, rest[0], center - board / 2), hollow(-half, half, center + board / 2, rest[1])]
    return cuts


def _fronts(cabinet: Cabinet) -> Manifold:
    """Doors or drawers with their handles, protruding from the carcass, with gaps between them."""
    gap, half = 0.026, cabinet.width / 2 - 0.5 * cabinet.board
    low, top = cabinet.base_height + 0.4 * cabinet.board, cabinet.base_height + cabinet.split * cabinet.height
    top -= 0.5 * cabinet.board
    z = cabinet.depth / 2
    face = z + cabinet.panel_depth

    def panel(left: float, right: float, bottom: float, ceiling: float) -> Manifold:
        return block((left, bottom, z - 0.01), (right, ceiling, face), 0.005)

    if cabinet.front == "shelves":
        return Manifold()
    if cabinet.front == "doors":
        door = panel(gap / 2, half, low, top)
        x, y = gap / 2 + 0.055, low + 0.68 * (top - low)
        return both_sides(door + _handle(cabinet, x, y, face, upright=True))
    parts = []
    pitch = (top - low + gap) / 3
    for row in range(3):
        bottom = low + row * pitch
        ceiling = bottom + pitch - gap
        parts.append(panel(-half, half, bottom, ceiling))
        parts.append(both_sides(_handle(cabinet, 0.5 * half, (bottom + ceiling) / 2, face, upright=False)))
    return union(parts)


def _handle(cabinet: Cabinet, x: float, y: float, face: float, *, upright: bool) -> Manifold:
    """Knob, or bar on two studs, at (x, y) on the front face."""
    size = cabinet.handle_size
    if cabinet.handle == "knob":
        stem = bar((x, y, face - 0.008), (x, y, face + 0.6 * size), section(0.85 * size, round=True))
        head = section(1.5 * size, round=True)
        return stem + bar((x, y, face + 0.5 * size), (x, y, face + 1.3 * size), head, tip=0.8)
    span = 2.6 * size
    step = (0.0, span, 0.0) if upright else (span, 0.0, 0.0)
    ends = [(x + side * step[0], y + side * step[1]) for side in (-1, 1)]
    out = face + 1.2 * size
    thick = section(0.85 * size, round=True)
    parts = [bar((a, b, face - 0.008), (a, b, out), thick) for a, b in ends]
    tips = [(x + side * 1.4 * step[0], y + side * 1.4 * step[1], out) for side in (-1, 1)]
    parts.append(bar(tips[0], tips[1], thick))
    return union(parts)


def _base(cabinet: Cabinet) -> Manifold:
    half_x, half_z, head = cabinet.width / 2, cabinet.depth / 2, cabinet.base_height + 0.5 * cabinet.board
    if cabinet.base == "plinth":
        back = 0.5 * cabinet.foot_width
        return block((back - half_x, 0.0, 0.01 - half_z), (half_x - back, head, half_z - back), 0.006)
    inset = 0.9 * cabinet.foot_width + 0.02
    lean = tan(radians(cabinet.foot_splay)) * head
    x, z = half_x - inset, half_z - inset
    upper = section(cabinet.foot_width, round=True)
    foot = both_sides(post((x + lean, 0.0, z + lean), (x, head, z), upper * 0.75, upper))
    return foot + foot.mirror((0.0, 0.0, 1.0))
