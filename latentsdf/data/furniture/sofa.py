"""Sofas and armchairs: an upholstered body with seat cushions, arms, a back and, optionally, a chaise."""

from dataclasses import dataclass
from typing import Annotated, Literal

from manifold3d import Manifold

from latentsdf.data.furniture.parameters import Parameters, Range
from latentsdf.data.furniture.solids import bar, both_sides, cushion, ellipse, union
from latentsdf.data.furniture.supports import Support, support

_GAP = 0.03  # between cushions


@dataclass(frozen=True)
class Sofa(Parameters):
    """Armchair or sofa with up to four seats. Lengths in meters, angles in degrees."""

    seats: Literal[1, 2, 3, 4]
    arms: Literal["block", "rolled", "slim", "none"]
    """Upholstered boxes, boxes with a thick roll on top, thin boards, or no arms."""
    back: Literal["block", "cushions", "wings"]
    """A plain back, one with a loose cushion per seat, or one with forward wings at its ends."""
    base: Literal["square", "round", "sled", "plinth"]
    chaise: bool
    """The seat at +x extends forward. It is ignored by an armchair."""
    seat_width: Annotated[float, Range(0.52, 0.78)]
    """Width of each seat."""
    seat_depth: Annotated[float, Range(0.50, 0.72)]
    seat_height: Annotated[float, Range(0.36, 0.48)]
    cushion_thickness: Annotated[float, Range(0.11, 0.19)]
    base_height: Annotated[float, Range(0.05, 0.16)]
    leg_width: Annotated[float, Range(0.055, 0.085)]
    arm_width: Annotated[float, Range(0.10, 0.26)]
    arm_height: Annotated[float, Range(0.10, 0.28)]
    """Height of the arms above the seat."""
    back_height: Annotated[float, Range(0.28, 0.56)]
    """Height of the back above the seat."""
    back_thickness: Annotated[float, Range(0.13, 0.26)]
    back_lean: Annotated[float, Range(0.0, 14.0)]
    softness: Annotated[float, Range(0.02, 0.05)]
    """Radius of the edges of cushions."""
    chaise_length: Annotated[float, Range(0.35, 0.75)]
    """Distance by which a chaise extends beyond the other seats."""

    def solid(self) -> Manifold:
        """Build the solid, see `Parameters.solid`."""
        half, depth = self.seats * self.seat_width / 2, self.seat_depth + self.back_thickness
        deck = self.seat_height - self.cushion_thickness
        body = cushion((-half, self.base_height, -depth / 2), (half, deck + 0.02, depth / 2), 0.02)
        parts = [body, _back(self, half, depth), *_seats(self, half, depth, deck)]
        if self.arms != "none":
            parts.append(_arms(self, half, depth))
        legs = support(
            self.base,
            half - 0.02 if self.arms == "none" else half + 0.5 * _arm_width(self),
            depth / 2 - 0.02,
            self.base_height,
            self.leg_width,
            overlap=0.03,
            taper=0.75,
        )
        return union([*parts, legs])


def _has_chaise(sofa: Sofa) -> bool:
    return sofa.chaise and sofa.seats > 1


def _arm_width(sofa: Sofa) -> float:
    return 0.055 if sofa.arms == "slim" else sofa.arm_width


def _seats(sofa: Sofa, half: float, depth: float, deck: float) -> list[Manifold]:
    """Seat cushions, and the chaise with its own body and feet."""
    parts = []
    rear, front = sofa.back_thickness - depth / 2 - 0.03, depth / 2 + 0.01
    for seat in range(sofa.seats):
        left = -half + seat * sofa.seat_width + _GAP / 2
        right = left + sofa.seat_width - _GAP
        last = _has_chaise(sofa) and seat == sofa.seats - 1
        end = front + (sofa.chaise_length if last else 0.0)
        parts.append(cushion((left, deck, rear), (right, sofa.seat_height, end), sofa.softness))
        if last:
            low, width = sofa.base_height, sofa.leg_width
            parts.append(cushion((left, low, 0.0), (right, deck + 0.02, end - 0.01), 0.02))
            kind: Support = "plinth" if sofa.base == "plinth" else "round" if sofa.base == "round" else "square"
            length = sofa.chaise_length + 0.5 * depth
            feet = support(kind, (right - left) / 2 - 0.02, length / 2 - 0.02, low, width, overlap=0.03, taper=0.75)
            parts.append(feet.translate(((left + right) / 2, 0.0, end - 0.01 - length / 2)))
    return parts


def _back(sofa: Sofa, half: float, depth: float) -> Manifold:
    """Back, built upright at z = 0, then tilted about the seat and moved to the rear."""
    thick, soft, high = sofa.back_thickness, sofa.softness, sofa.back_height
    wide = half if sofa.arms == "none" else half + 0.5 * _arm_width(sofa)
    low = sofa.base_height - sofa.seat_height + 0.02
    frame = 0.55 * thick if sofa.back == "cushions" else thick
    parts = [cushion((-wide, low, -frame / 2), (wide, high, frame / 2), soft)]
    if sofa.back == "cushions":
        for seat in range(sofa.seats):
            left = -half + seat * sofa.seat_width + _GAP / 2
            pad = (left, -0.05, frame / 2 - 0.02), (left + sofa.seat_width - _GAP, high - 0.04, thick)
            parts.append(cushion(*pad, min(soft, 0.3 * (pad[1][2] - pad[0][2]))))
    if sofa.back == "wings":
        wing = cushion((wide - 0.09, 0.05, 0.0), (wide, high - 0.01, thick / 2 + 0.16), 0.03)
        parts.append(both_sides(wing))
    tilted = union(parts).rotate((-sofa.back_lean, 0.0, 0.0))
    return tilted.translate((0.0, sofa.seat_height, -depth / 2 + frame / 2))


def _arms(sofa: Sofa, half: float, depth: float) -> Manifold:
    width, top = _arm_width(sofa), sofa.seat_height + sofa.arm_height
    rear, front = -depth / 2 + 0.01, depth / 2 - 0.02
    radius = min(sofa.softness, 0.4 * width)
    arm = cushion((half - 0.01, sofa.base_height, rear), (half + width, top, front), radius)
    if sofa.arms == "rolled":
        size = 1.25 * width
        roll = ellipse(size, 0.85 * size, 20)
        y = top - 0.25 * size
        arm += bar((half + 0.55 * width, y, rear + 0.005), (half + 0.55 * width, y, front + 0.015), roll)
    return both_sides(arm)
