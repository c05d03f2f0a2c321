"""Settings of preprocessing: the signed distance samples that are stored for each shape.

Lengths are in model space, the box [-1, 1]^3, unless a setting is in cells.
"""

from typing import Annotated, Literal

from pydantic import Field

from latentsdf.config.validation import (
    NonNegativeCount,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError

SignMethod = Literal["auto", "pseudonormal", "winding", "visibility"]
DistanceBackend = Literal["latentsdf", "igl", "open3d", "mesh_to_sdf"]
Normalization = Literal["sphere", "cube", "none"]


@config_dataclass
class SamplingConfig:
    """Samples stored for one shape.

    The kinds and numbers of samples are those of Compact-SDF (Bai et al. 2026), with an exact narrow band on a dense
    lattice.
    """

    resolution: Annotated[int, Field(strict=True, ge=16, le=1024)] = 512
    """Cells per axis of the dense lattice, which has (resolution + 1)^3 vertices."""
    band_voxels: PositiveFloat = 6.0
    """Half width of the narrow band around the surface, in cells of the dense lattice."""
    sparse_resolution: NonNegativeInt = 128
    """Cells per axis of the sparse lattice over the whole box; must divide `resolution`. 0 for no sparse lattice, in
    imported stores only."""
    near: NonNegativeCount = 360_000
    """Number of surface points displaced by Gaussian noise."""
    near_std: NonNegativeFloat = 0.025
    """Standard deviation of that noise per axis."""
    uniform: NonNegativeCount = 180_000
    """Number of uniformly distributed points in the box."""
    surface: NonNegativeCount = 250_000
    """Number of points distributed uniformly by area on the surface, stored with normals."""
    normalization: Normalization = "sphere"
    """Transform of a mesh to model space: into the sphere of radius 1 / 1.03 (DeepSDF), into a cube with the same
    margin, or none."""
    sign: SignMethod = "auto"
    """Method that determines inside and outside; see `geometry.mesh_sdf.sign`."""
    distance: DistanceBackend = "latentsdf"
    """Package that measures unsigned distances; the signs are the same with each. Mean and maximum error within 0.03 of
    the surface of a chair: `latentsdf` and `igl` 1e-16 (before rounding to float32), `open3d` 6e-9 and 3e-6,
    `mesh_to_sdf` 7e-4 and 8e-3 (nearest of 200,000 surface samples). `open3d` and `mesh_to_sdf` need the extras of
    these names. Only `latentsdf` uses the fast algorithms for lattices."""
    sheet_thickness: NonNegativeFloat = 3.0
    """Thickness assigned to surfaces that enclose no volume, in cells of the dense lattice; 0 drops such surfaces. See
    `geometry.mesh_sdf.solid`."""

    def __post_init__(self) -> None:
        """Check that the sparse lattice is a subset of the dense one."""
        if self.sparse_resolution and self.resolution % self.sparse_resolution:
            raise ConfigError(
                f"sparse_resolution must divide resolution, got {self.sparse_resolution} and {self.resolution}; "
                f"set it to {self.resolution // 2}, for example"
            )
