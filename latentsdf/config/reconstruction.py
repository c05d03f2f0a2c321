"""The settings of one field from one raw point cloud, each with its default and what it does. No behaviour.

Lengths are in model space, the box [-1, 1]^3.
"""

from dataclasses import dataclass, field
from typing import Literal

ReconstructMethod = Literal["latentsdf", "hotspot", "medial_axis", "steik", "digs", "siren", "igr"]
NetworkKind = Literal["softplus", "sine", "quadratic", "pyramid"]
NetworkStart = Literal["siren", "sphere", "multifrequency", "bowl", "spread"]
Nearby = Literal["uniform", "gaussian", "local"]


@dataclass(frozen=True)
class NetworkConfig:
    """The network that is one shape's field."""

    kind: NetworkKind = "softplus"
    """`softplus`: multilayer perceptron; `sine` and `quadratic`: sine layers, linear or quadratic before the sine;
    `pyramid`: grids of features under a small softplus network."""
    width: int = 64
    depth: int = 4
    """Hidden layers."""
    skip: int = 0
    """Softplus: feed the point again into this hidden layer (counted from 1); 0 for none."""
    start: NetworkStart = "sphere"
    """Sine networks: see `model.siren`, which has all but `spread`. Softplus: `sphere` as published, or `spread`, also
    a sphere, from which details are learned sooner (`model.softplus`)."""
    radius: float = 0.5
    """Of the sphere that the field is at the start, in model space."""
    slope: float = 1.0
    """Of that sphere's field, for the starts `sphere` and `multifrequency`: |grad u|."""
    omega: float = 30.0
    """Sine networks: frequency of every layer."""
    resolutions: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Pyramid: cells per axis of each grid."""
    channels: int = 4
    """Pyramid: features per grid."""


@dataclass(frozen=True)
class FieldLossConfig:
    """Weights on one cloud, each a schedule (v0, t1, v1, ..., end) over the run (`losses.schedule`); (0.0,) is off."""

    surface: tuple[float, ...] = (1.0,)
    """|u| on the cloud."""
    eikonal: tuple[float, ...] = (0.0,)
    """| |grad u| - 1 | everywhere, or its square where `eikonal_squared`."""
    eikonal_squared: bool = False
    normals: tuple[float, ...] = (0.0,)
    """Angle or difference of grad u to the normals; left out for a cloud without, but `guide` estimates them."""
    normals_cosine: bool = False
    sign_agnostic: tuple[float, ...] = (0.0,)
    """| |u| - h | off the cloud, h the distance to its nearest point (SAL)."""
    sign_agnostic_normals: tuple[float, ...] = (0.0,)
    """Difference of grad u, up to its sign, to the direction away from the cloud's nearest point (SALD)."""
    off_surface: tuple[float, ...] = (0.0,)
    """exp(-100 |u|) off the cloud."""
    heat: tuple[float, ...] = (0.0,)
    """Screened-Poisson energy off the cloud, an integral over the box and the Gaussian's reach."""
    heat_lambda: tuple[float, ...] = (15.0,)
    """Absorption of the heat term, in 1 / model-space length."""
    divergence: tuple[float, ...] = (0.0,)
    """|lap u| off the cloud (DiGS)."""
    directional: tuple[float, ...] = (0.0,)
    """Directional divergence off the cloud (StEik)."""
    singular_hessian: tuple[float, ...] = (0.0,)
    """|det H| off the cloud."""
    guide: tuple[float, ...] = (0.0,)
    """Difference to the first signed distance that the oriented cloud gives (`geometry.oriented`)."""


@dataclass(frozen=True)
class MedialConfig:
    """The phase field v beside the distance, and the weights of their functionals (METHODS 8; schedules as above)."""

    width: float = 0.02
    """Of the band about the axis in which v falls to 0, in model space. The paper's 1e-3 asks for its 20,000 points."""
    phase_width: int = 48
    phase_blocks: int = 3
    phase_omega: float = 15.0
    lr_phase: float = 2e-3
    second_order: tuple[float, ...] = (0.01, 0.2, 0.01, 0.4, 1.0, 1.0)
    phase: tuple[float, ...] = (0.2,)
    """Ambrosio-Tortorelli: what the axis costs per length."""
    surface: tuple[float, ...] = (4.0, 0.6, 4.0, 0.8, 40.0, 40.0)
    eikonal: tuple[float, ...] = (0.01, 0.2, 0.01, 0.6, 0.2, 0.2)
    expansion: tuple[float, ...] = (10.0, 0.2, 10.0, 0.6, 0.1, 0.1)
    first_phase: float = 0.2
    """Share of the run in which v = 1 and the distance is alone."""
    last_phase: float = 0.7
    """From this share on v is frozen."""
    levels: int = 2
    """Times a cell of the sampling grid can be halved."""


@dataclass(frozen=True)
class ReconstructConfig:
    """One field from one cloud; `reconstruction.presets` has a configuration per method."""

    method: str = "hotspot"
    """Name of the recipe, kept with the result."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: FieldLossConfig = field(default_factory=FieldLossConfig)
    medial: MedialConfig = field(default_factory=MedialConfig)
    """Only for method `medial_axis`, which has these functionals instead of `loss`."""
    steps: int = 5000
    """Length of the run; `minutes` ends it earlier and the schedules follow the clock then."""
    minutes: float = 0.0
    """Wall-clock budget of the steps; 0 for none."""
    patience: int = 0
    """Stop when the error on the cloud has not fallen by 1 % for this many windows of 100 steps; 0 for never."""
    lr: float = 1e-3
    lr_matrices: float = 0.0
    """Above 0, hidden weight matrices take steps of this spectral norm by Muon; it finds details sooner than Adam."""
    lr_rows: float = 1e-2
    """Pyramid: step of the features."""
    lr_final: float = 0.02
    """Share of the learning rates left at the end of their cosine decay."""
    warmup_steps: int = 100
    """Steps over which the learning rates rise from zero."""
    beta2: float = 0.99
    """Decay of Adam's second moments."""
    denoise: bool = False
    """Smooth a cloud whose noise is wider than its spacing first (`geometry.denoise`); others are left as they are."""
    clip: float = 10.0
    """Largest norm of the gradient; 0 for no limit."""
    surface_points: int = 512
    """Points of the cloud a step."""
    off_points: int = 512
    """Points off the cloud a step: the share `nearby_share` from `nearby`, the rest uniform in the box."""
    nearby: Nearby = "gaussian"
    """`uniform` in the box too (SIREN, DiGS, StEik), from a `gaussian` at the origin (HotSpot), or `local`: the cloud,
    moved as far as 50th neighbours are (IGR)."""
    nearby_share: float = 0.5
    gaussian_std: float = 0.5
    """Standard deviation of that Gaussian per axis."""
    extent: float = 1.1
    """Half the side of the box, in model space."""
    seed: int = 0
