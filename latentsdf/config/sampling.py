"""Settings of preprocessing: which signed distance samples are stored for a shape.

Lengths are in model space, the box [-1, 1]^3, unless a field says voxels.
"""

from dataclasses import dataclass
from typing import Literal

SignMethod = Literal["auto", "pseudonormal", "winding", "visibility"]
Normalization = Literal["sphere", "cube", "none"]


@dataclass(frozen=True)
class SamplingConfig:
    """What preprocessing stores for one shape (Compact-SDF, METHODS 1.3, with an exact band)."""

    resolution: int = 512
    """Cells per axis of the dense lattice; the band lives on its (resolution + 1)^3 vertices."""
    band_voxels: float = 6.0
    """Half width of the band around the surface, in cells of the dense lattice."""
    sparse_resolution: int = 128
    """Cells per axis of the sparse lattice over the whole box; must divide `resolution`."""
    near: int = 360_000
    """Surface points moved by Gaussian noise."""
    near_std: float = 0.025
    """Standard deviation of that noise per axis."""
    uniform: int = 180_000
    """Points uniform in the box."""
    surface: int = 250_000
    """Points on the surface, area-weighted, with normals."""
    normalization: Normalization = "sphere"
    """Unit sphere at radius 1/1.03 (DeepSDF), cube at the same margin, or as the file has it."""
    sign: SignMethod = "auto"
    """How inside is decided; see `geometry.sign`."""
    sheet_thickness: float = 3.0
    """Thickness of surface that encloses nothing, in cells of the dense lattice; 0 gives none. See `geometry.solid`."""
