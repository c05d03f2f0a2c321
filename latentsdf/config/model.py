"""Settings of the dual-branch model.

Notation: x is a point in model space, the box [-1, 1]^3; z the latent code of a shape; s the signed distance, negative
inside. Lengths are in model space unless a setting is in cells.
"""

from typing import Annotated, Literal

from pydantic import Field

from latentsdf.config.validation import (
    MAX_CODE_DIM,
    MAX_FREQUENCIES,
    MAX_LOCAL_CELLS,
    Cells,
    Channels,
    Flag,
    Layers,
    PositiveFloat,
    Width,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError

Branch = Literal["general", "overfit"]
Activation = Literal["relu", "softplus"]
Conditioning = Literal["concat", "film", "hyper"]
Recipe = Literal["latentsdf", "compact_sdf", "deepsdf", "igr"]


@config_dataclass
class BranchConfig:
    """A multilayer perceptron that maps a point and a code to a signed distance or a displacement."""

    width: Width = 64
    """Units per hidden layer. 0 removes an optional network."""
    depth: Layers = 4
    """Number of hidden layers."""
    skip: Layers = 0
    """Hidden layer (counted from 1, so at least 2) that receives the network's input again; 0 for none."""
    activation: Activation = "relu"
    """Activation of the hidden layers. Losses with second derivatives need `softplus`."""
    conditioning: Conditioning = "hyper"
    """How the network depends on the code. `concat`: the code is an input of the first and the skip layer. `film`: the
    code scales and shifts the features of each layer. `hyper`: every weight is an affine function of the code."""
    frequencies: Annotated[int, Field(strict=True, ge=0, le=MAX_FREQUENCIES)] = 2
    """Octaves of the positional encoding sin(2^k x), cos(2^k x); 0 for none. High octaves cause ripples on unseen
    shapes."""
    recipe: Recipe = "latentsdf"
    """Layers and initialization. `compact_sdf`: geometric initialization, with the point as an input besides its
    encoding. `deepsdf`: weight normalization, dropout, a narrow layer before the skip, and tanh at the output. `igr`:
    a narrow layer before a scaled skip, initialized as a sphere. These three need conditioning `concat`."""


@config_dataclass
class GridConfig:
    """Feature grid shared by all shapes."""

    resolution: Cells = 128
    """Cells per axis; the grid has (resolution + 1)^3 vertices."""
    channels: Channels = 16
    """Features per vertex."""


@config_dataclass
class LocalCodeConfig:
    """Local part of a code: values at the vertices of a coarse lattice over canonical space, one lattice per shape."""

    resolution: Annotated[int, Field(strict=True, ge=0, le=MAX_LOCAL_CELLS)] = 0
    """Cells per axis; a shape has (resolution + 1)^3 vertices. 0 for codes without a local part."""
    channels: Channels = 8
    """Values per vertex."""


@config_dataclass
class ModelConfig:
    """Dual-branch model."""

    code_dim: Annotated[int, Field(strict=True, ge=1, le=MAX_CODE_DIM)] = 64
    """Length of the global part of a code, which conditions all networks."""
    local: LocalCodeConfig = LocalCodeConfig()
    warp: BranchConfig = BranchConfig(width=32, depth=2, activation="softplus")
    """Warp network x_c = x + w(x, z) to the canonical space in which both branches and the grid are defined; width 0
    for none."""
    general: BranchConfig = BranchConfig(width=96)
    """General branch s_g(x_c, z), defined in the whole box."""
    overfit: BranchConfig = BranchConfig(depth=3)
    """Overfit branch, which also reads the grid features and is defined in the fusion band; width 0 for a model with
    the general branch only, without a grid."""
    grid: GridConfig = GridConfig()
    band_voxels: PositiveFloat = 3.0
    """Half width of the fusion band around the general branch's surface, in cells of a 512^3 lattice (2 / 512 each)."""
    residual: Flag = True
    """The overfit network predicts a residual on top of the general branch instead of the whole distance. The grid is
    fitted to training shapes only, so the residual is small for unseen shapes."""

    @property
    def local_size(self) -> int:
        """Values of the local part of a code."""
        return (self.local.resolution + 1) ** 3 * self.local.channels if self.local.resolution else 0

    @property
    def code_size(self) -> int:
        """Values of a code: the global part, followed by the local part."""
        return self.code_dim + self.local_size

    def __post_init__(self) -> None:
        """Check the networks that are not removed."""
        if self.general.width < 1:
            raise ConfigError(f"model.general.width must be at least 1, got {self.general.width}")
        for name in ("general", "overfit"):
            depth = getattr(self, name).depth
            if depth < 1:
                raise ConfigError(f"model.{name}.depth must be at least 1, got {depth}")
        for name in ("warp", "general", "overfit"):
            branch: BranchConfig = getattr(self, name)
            if branch.width > 0 and (branch.skip == 1 or branch.skip > branch.depth):
                raise ConfigError(
                    f"model.{name}.skip must be 0 or a hidden layer after the first, 2 to {branch.depth}, got "
                    f"{branch.skip}"
                )
