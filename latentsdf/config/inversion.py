"""Settings of fitting a code to a new shape and of refining the fit.

Lengths are in model space, the box [-1, 1]^3, unless a field says voxels.
"""

from dataclasses import dataclass
from typing import Literal

Frame = Literal["user", "model"]
Reference = Literal["samples", "vertices"]


@dataclass(frozen=True)
class InvertConfig:
    """Fitting a code to a new shape with the networks and the grid frozen."""

    steps: int = 40
    """Gauss-Newton steps at most; a fit ends earlier when it no longer improves."""
    starts: int = 4
    """Codes tried side by side at first, the best-ranked training codes and their mean; then the best alone."""
    points: int = 2048
    """Samples of the observation that the fit sees; a quarter of them while there are several starts."""
    prior: float = 1e-6
    """Weight of the squared Mahalanobis distance to the training codes, beside the mean absolute errors."""
    by_layer: bool = True
    """Then give each layer that reads the code its own, near the common one; never of parts, which cannot tell them."""
    partial: bool = False
    """The observation is a part: what it does not show is left to the prior."""
    align: bool = False
    """Estimate scale, turn about the vertical axis and translation along with the code."""
    frame: Frame = "user"
    """`user`: the observation is normalized like a training shape; `model`: its coordinates are model space already."""
    seed: int = 0


@dataclass(frozen=True)
class RefineConfig:
    """Learning the detail of one shape on top of its code; the networks stay frozen."""

    steps: int = 500
    seconds: float = 0.0
    """Wall-clock budget of the optimization; 0 for none. The schedule follows the clock where it binds."""
    lr: float = 3e-2
    """Lazy Adam's step for the features; decays to a hundredth."""
    points: int = 16_384
    """Samples per step."""
    resolution: int = 512
    """Cells per axis of the dense lattice on which distances near the surface are taken."""
    band_voxels: float = 6.0
    """Half width of that band, in cells."""
    lattice: int = 128
    """Cells per axis of the lattice that corrects the general branch; must divide `resolution`."""
    sheet_thickness: float = 3.0
    """Thickness of surface that encloses nothing, in cells of the dense lattice; the store's (`SamplingConfig`)."""
    seed: int = 0
