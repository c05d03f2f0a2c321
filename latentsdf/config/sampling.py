"""Settings of preprocessing: which signed distance samples of a shape are stored.

Lengths are in model space, the box [-1, 1]^3, unless a setting is in cells.
"""

from typing import Annotated, Literal

from pydantic import Field

from latentsdf.config.validation import NonNegativeFloat, NonNegativeInt, PositiveFloat, config_dataclass
from latentsdf.utils.errors import ConfigError

SignMethod = Literal["auto", "pseudonormal", "winding", "visibility"]
Normalization = Literal["sphere", "cube", "none"]


@config_dataclass
class SamplingConfig:
    """Samples stored for one shape.

    Compact-SDF's sample classes and counts (Bai et al. 2026), with an exact narrow band on a dense lattice.
    """

    resolution: Annotated[int, Field(strict=True, ge=16, le=1024)] = 512
    """Cells per axis of the dense lattice, which has (resolution + 1)^3 vertices."""
    band_voxels: PositiveFloat = 6.0
    """Half width of the narrow band around the surface, in cells of the dense lattice."""
    sparse_resolution: NonNegativeInt = 128
    """Cells per axis of the sparse lattice over the whole box; must divide `resolution`. 0 in imported stores only,
    which have no sparse lattice."""
    near: NonNegativeInt = 360_000
    """Number of surface points displaced by Gaussian noise."""
    near_std: NonNegativeFloat = 0.025
    """Standard deviation of that noise per axis."""
    uniform: NonNegativeInt = 180_000
    """Number of points uniform in the box."""
    surface: NonNegativeInt = 250_000
    """Number of area-weighted points on the surface, stored with normals."""
    normalization: Normalization = "sphere"
    """Map from a mesh to model space: into the sphere of radius 1 / 1.03 (DeepSDF), into a cube with the same margin,
    or none."""
    sign: SignMethod = "auto"
    """How inside and outside are determined; see `geometry.mesh_sdf.sign`."""
    sheet_thickness: NonNegativeFloat = 3.0
    """Thickness given to surface that encloses no volume, in cells of the dense lattice; 0 drops such surface. See
    `geometry.mesh_sdf.solid`."""

    def __post_init__(self) -> None:
        """Check that the sparse lattice is a subset of the dense one."""
        if self.sparse_resolution and self.resolution % self.sparse_resolution:
            raise ConfigError(
                f"sparse_resolution must divide resolution, got {self.sparse_resolution} and {self.resolution}; "
                f"set it to {self.resolution // 2}, for example"
            )
