"""Settings for fitting latent codes to new shapes (`InvertConfig`) and refining the fits (`RefineConfig`).

Lengths are in model space, the box [-1, 1]^3, unless a setting is in cells.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from latentsdf.config.frames import Frame
from latentsdf.config.validation import (
    Flag,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError


@config_dataclass
class InvertConfig:
    """Fit of a latent code to a new shape; the networks and the feature grid are frozen."""

    steps: PositiveInt = 40
    """Maximum number of Gauss-Newton steps for the shared code; a fit ends earlier if it no longer improves. Up to 6
    steps per round follow with codes by layer."""
    starts: Annotated[int, Field(strict=True, ge=1, le=1000)] = 4
    """Number of initial codes that are optimized in parallel: the best-ranked training codes and their mean. Only the
    best one is optimized further."""
    points: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] = 2048
    """Number of samples of the observation used by the fit, twice as many for codes with a local part; a quarter of it
    while several starts are compared."""
    prior: NonNegativeFloat = 1e-6
    """Weight of the squared Mahalanobis distance to the training codes, added to the mean absolute errors."""
    by_layer: Flag = True
    """After the shared code, fit one code per conditioned layer, close to the shared code. Ignored for partial
    observations, which do not constrain so many parameters, and for spaces with local codes."""
    partial: Flag = False
    """The observation covers only part of the surface; unobserved regions are left to the prior."""
    align: Flag = False
    """Also estimate the scale, rotation about the vertical axis and translation of the observation."""
    frame: Annotated[Frame, BeforeValidator(lambda frame: "shape" if frame == "user" else frame)] = "shape"
    """`shape`: the observation is in its own frame, and is normalized like a training shape; `model`: it is already in
    model space. `user` is the former name of `shape`."""
    assess: Flag = True
    """Extract the surface of the fit and compare it with the observation (`Inversion.verdict`), in about half a second
    per fit."""
    seed: Seed = 0
    """Seed of the random samples."""


@config_dataclass
class RefineConfig:
    """Detail of one shape on top of its code; the networks are frozen."""

    budget_kb: NonNegativeFloat = 64.0
    """Maximum size of the detail in kB (10^3 bytes), which is then stored as compressed distances; 0 for no limit, with
    features of the grid that are optimized and take megabytes."""
    steps: PositiveInt = 500
    """Maximum number of optimizer steps, without a limit of size."""
    seconds: NonNegativeFloat = 0.0
    """Wall-clock budget of the optimization, without a limit of size; 0 for none. The learning-rate schedule follows
    whichever budget is used up faster."""
    points: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] = 16_384
    """Number of samples per step, without a limit of size."""
    resolution: Annotated[int, Field(strict=True, ge=16, le=1024)] = 512
    """Cells per axis of the dense lattice on which the narrow band of the mesh is sampled. With a limit of size, it
    must be even, and the compressed lattice has half as many cells per axis."""
    band_voxels: PositiveFloat = 6.0
    """Half width of the narrow band, in cells of the dense lattice."""
    lattice: Annotated[int, Field(strict=True, ge=8, le=512)] = 128
    """Cells per axis of the lattice that corrects the general branch, without a limit of size; must divide
    `resolution`."""
    sheet_thickness: NonNegativeFloat = 3.0
    """Thickness assigned to surfaces that enclose no volume, in cells of the dense lattice; see `SamplingConfig`."""
    seed: Seed = 0
    """Seed of the random samples."""

    def __post_init__(self) -> None:
        """Check the settings that depend on each other."""
        if self.budget_kb > 0:
            if self.seconds > 0:
                raise ConfigError("seconds limits the refinement without a limit of size; also set budget_kb to 0")
            if self.resolution % 2:
                raise ConfigError(f"resolution must be even, got {self.resolution}")
        elif self.resolution % self.lattice:
            raise ConfigError(f"lattice must divide resolution, got {self.lattice} and {self.resolution}")
