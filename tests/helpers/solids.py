"""Horizontal sections of solids, whose y axis points up."""

from manifold3d import CrossSection, Manifold


def horizontal_section(solid: Manifold, y: float) -> CrossSection:
    """Section of a solid at a height, in the coordinates (x, z)."""
    return solid.rotate((-90.0, 0.0, 0.0)).slice(-y)  # The rotation maps y to -z and z to y; `slice` cuts at z.


def pieces(section: CrossSection) -> int:
    """Number of separate regions of a section."""
    return len(section.decompose())


def rounded_area(width: float, depth: float, radius: float) -> float:
    """Area of a rectangle whose corners are arcs of four chords each, as those of `rectangle` are."""
    sector = 2 * 0.3826834323650898  # four triangles of 22.5 degrees: 4 sin(pi / 8) / 2
    return width * depth - 4 * (1 - sector) * radius**2
