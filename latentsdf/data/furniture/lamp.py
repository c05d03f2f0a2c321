"""Lamps: a base, a stand (an upright pole or a jointed arm) and a hollow shade that is open at the bottom."""

from dataclasses import dataclass
from math import cos, pi, radians, sin
from typing import Annotated, Literal

from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import Vector, ball, bar, ellipse, lathe, post, rectangle, section, slab, union


@dataclass(frozen=True)
class Lamp(Parameters):
    """Table or desk lamp. Lengths in meters, angles in degrees."""

    STYLES = (
        {"stand": "pole", "base": "disc", "open_top": True},
        {"stand": "turned", "base": "square", "open_top": False},
        {"stand": "turned", "base": "disc", "open_top": True},
        {"stand": "arm", "base": "disc", "open_top": False},
    )

    stand: Literal["pole", "turned", "arm"]
    """A straight pole, a pole with a turned body, or two arms with ball joints (which bend toward +z)."""
    base: Literal["disc", "square"]
    open_top: bool
    """The shade on a pole is held by three spokes instead of a lid. The shade of an arm always has a lid."""
    height: Annotated[float, Range(0.3, 0.75, narrow=(0.428, 0.512))]
    """Height of the lower side of the shade's lid above the floor."""
    base_width: Annotated[float, Range(0.16, 0.32, narrow=(0.206, 0.254))]
    base_thickness: Annotated[float, Range(0.022, 0.05, narrow=(0.027, 0.037))]
    pole_width: Annotated[float, Range(0.024, 0.042, narrow=(0.026, 0.034))]
    body_width: Annotated[float, Range(0.08, 0.2, narrow=(0.096, 0.129))]
    """Largest diameter of a turned body; for every lamp, also determines the size of the collar at the base."""
    body_height: Annotated[float, Range(0.3, 0.7, narrow=(0.44, 0.56))]
    """Height of the widest part of a turned body, relative to the free height of the pole."""
    shade_width: Annotated[float, Range(0.22, 0.46, narrow=(0.28, 0.34))]
    """Diameter at the lower rim."""
    shade_taper: Annotated[float, Range(0.4, 0.95, narrow=(0.52, 0.73))]
    """Diameter at the top, relative to the diameter at the rim."""
    shade_height: Annotated[float, Range(0.12, 0.28, narrow=(0.174, 0.216))]
    shade_wall: Annotated[float, Range(0.014, 0.022, narrow=(0.014, 0.017))]
    arm_lean: Annotated[float, Range(8.0, 40.0, narrow=(19.0, 31.0))]
    """Backward tilt of the lower arm from the vertical."""
    arm_bend: Annotated[float, Range(70.0, 112.0, narrow=(83.4, 99.6))]
    """Angle at the elbow between the two arms."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        return union([_base(self), _arm_stand(self) if self.stand == "arm" else _pole_stand(self)])


def _base(lamp: Lamp) -> Manifold:
    width, thick = lamp.base_width, lamp.base_thickness
    outline = ellipse(width, width, 40) if lamp.base == "disc" else rectangle(0.92 * width, 0.92 * width, 0.02)
    collar = 0.30 * lamp.body_width + 0.5 * lamp.pole_width
    ring = ellipse(2 * collar, 2 * collar, 24)
    neck = post((0.0, thick / 2, 0.0), (0.0, thick + 0.025, 0.0), ring, ring * 0.7)
    return slab(outline, 0.0, thick, 0.25 * thick) + neck


def _shade_height(lamp: Lamp) -> float:
    """Height of the shade, limited so that nearly half of the stand stays visible."""
    return min(lamp.shade_height, 0.55 * lamp.height)


def _shade(lamp: Lamp, *, lid: bool, size: float = 1.0) -> Manifold:
    """Shade with its lid at y = 0 and its rim below: a truncated cone with walls of constant thickness."""
    rim, wall = size * lamp.shade_width / 2, lamp.shade_wall
    crown, drop = rim * lamp.shade_taper, size * _shade_height(lamp)
    # The wall thickness is perpendicular to the slanted wall; its radial extent is larger by 1 / cos(slant).
    step = wall * (1 + ((rim - crown) / drop) ** 2) ** 0.5
    inner = [(crown - step, 0.0), (rim - step, -drop)]
    outer = [(rim, -drop), (crown, 0.0)]
    if lid:
        return lathe([(0.0, 0.0), *inner, *outer, (crown, wall), (0.0, wall)], 64)
    shell = lathe([*inner, *outer], 64)
    # At the height of the spokes, the wall of a flat shade is farther out.
    widening = 1.2 * wall * (rim - crown) / drop
    reach = crown - step / 2 + (widening if widening > 0.55 * step else 0.0)
    spokes = []
    for spoke in range(3):
        angle = 2 * pi * spoke / 3 + pi / 2
        end = (reach * cos(angle), -1.2 * wall, reach * sin(angle))
        spokes.append(bar((0.0, -1.2 * wall, 0.0), end, section(0.016, round=True)))
    return union([shell, *spokes])


def _pole_stand(lamp: Lamp) -> Manifold:
    """Upright pole, plain or with a turned body, with the shade around its upper end."""
    radius, bottom = lamp.pole_width / 2, lamp.base_thickness / 2
    pole = post((0.0, bottom, 0.0), (0.0, lamp.height, 0.0), *[ellipse(2 * radius, 2 * radius)] * 2)
    shade = _shade(lamp, lid=not lamp.open_top).translate((0.0, lamp.height, 0.0))
    parts = [pole, shade]
    if lamp.stand == "turned":
        free = lamp.height - _shade_height(lamp) - bottom
        parts.append(_body(lamp, bottom, free))
    return union(parts)


def _body(lamp: Lamp, bottom: float, free: float) -> Manifold:
    """Turned body between the base and the shade."""
    belly, neck, foot = lamp.body_width / 2, 0.8 * lamp.pole_width, 0.32 * lamp.body_width
    peak = lamp.body_height
    outline = []
    for i in range(11):
        t = i / 10
        # A quarter sine on each side of the widest part: the profile is smooth there and has no ridge.
        low, span = (foot, t / peak) if t <= peak else (neck, (1 - t) / (1 - peak))
        outline.append((low + (belly - low) * sin(pi / 2 * span), bottom + t * free))
    return lathe([(0.0, bottom), *outline, (0.0, bottom + free)])


def _arm_stand(lamp: Lamp) -> Manifold:
    """Lower arm tilted back, elbow, upper arm reaching forward, and a small shade that faces down."""
    lean, rise = radians(lamp.arm_lean), radians(lamp.arm_lean + 180 - lamp.arm_bend)
    # With shorter arms, the shade could reach below the floor.
    height = max(lamp.height, 0.4)
    lower, upper = 0.62 * height, 0.70 * height
    size, joint = lamp.pole_width, 0.85 * lamp.pole_width
    root: Vector = (0.0, lamp.base_thickness + 0.02, 0.0)
    elbow: Vector = (0.0, root[1] + lower * cos(lean), root[2] - lower * sin(lean))
    hand: Vector = (0.0, elbow[1] - upper * cos(rise), elbow[2] + upper * sin(rise))
    tube = section(size, round=True)
    parts = [ball(root, joint), bar(root, elbow, tube), ball(elbow, joint), bar(elbow, hand, tube), ball(hand, joint)]
    shade = _shade(lamp, lid=True, size=0.64).rotate((-20.0, 0.0, 0.0))
    parts.append(shade.translate((hand[0], hand[1] - 0.8 * joint, hand[2])))
    return union(parts)
