"""Settings of the dual-branch model.

Lengths are in model space, the box [-1, 1]^3, unless a field says voxels.
"""

from dataclasses import dataclass, field
from typing import Literal

Branch = Literal["general", "overfit"]
Activation = Literal["relu", "softplus"]
Conditioning = Literal["concat", "film", "hyper"]
Recipe = Literal["latentsdf", "compact_sdf", "deepsdf", "igr"]


@dataclass(frozen=True)
class BranchConfig:
    """One multilayer perceptron from a point and a code to a signed distance."""

    width: int = 64
    depth: int = 4
    """Hidden layers."""
    skip: int = 0
    """Feed the input again into this hidden layer (counted from 1); 0 for none."""
    activation: Activation = "relu"
    conditioning: Conditioning = "hyper"
    """`concat` feeds the code to the first and the skip layer, `film` scales and shifts features by it, with `hyper`
    every weight is affine in it."""
    frequencies: int = 2
    """Octaves of the positional encoding sin(2^k x), cos(2^k x); 0 for none. Many leave ripples on unseen shapes."""
    recipe: Recipe = "latentsdf"
    """Whose layers: `compact_sdf` has its initialization and feeds points twice, `deepsdf` weight normalization,
    dropout, a narrow layer before the skip and tanh at the end, `igr` a narrow layer, a scaled skip and a sphere at the
    start (METHODS 1 to 3). The published ones go with `concat`."""


@dataclass(frozen=True)
class GridConfig:
    """The feature grid all shapes share."""

    resolution: int = 128
    """Cells per axis; the grid has (resolution + 1)^3 vertices."""
    channels: int = 16


@dataclass(frozen=True)
class ModelConfig:
    """The dual-branch model."""

    code_dim: int = 64
    warp: BranchConfig = field(default_factory=lambda: BranchConfig(width=32, depth=2, activation="softplus"))
    """Network that moves points to the canonical space in which both branches and the grid live; width 0 for none."""
    general: BranchConfig = field(default_factory=lambda: BranchConfig(width=96))
    overfit: BranchConfig = field(default_factory=lambda: BranchConfig(depth=3))
    """Width 0 for a model of the general branch alone, without a grid."""
    grid: GridConfig = field(default_factory=GridConfig)
    band_voxels: float = 3.0
    """Half width of the fusion band, in cells of a 512^3 lattice (2/512 of model space each)."""
    residual: bool = True
    """The overfit network adds to the general branch's distance instead of giving the whole, so that unseen shapes, of
    which the grid holds no detail, stay smooth."""
