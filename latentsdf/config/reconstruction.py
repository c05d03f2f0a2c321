"""Configuration of a signed distance field fitted to one point cloud.

Lengths are in the frame of the fit, by default model space: the center of the cloud's bounding box is the origin, its
farthest point at radius 1 / 1.03.
u denotes the signed distance (negative inside), v the phase field of the medial-axis method.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field

from latentsdf.config.arguments import with_options
from latentsdf.config.training import EikonalNorm
from latentsdf.config.validation import (
    MAX_FREQUENCIES,
    MAX_GRIDS,
    MAX_LAYERS,
    MAX_WIDTH,
    Cells,
    Channels,
    Count,
    Flag,
    Layers,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveSchedule,
    Resolutions,
    Schedule,
    Seed,
    Share,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError

ReconstructMethod = Literal[
    "latentsdf",
    "hotspot",
    "medial_axis",
    "steik",
    "digs",
    "nsh",
    "siren",
    "igr",
    "sal",
    "heat_sdf",
    "heat_medial",
    "instant_ngp",
    "lipschitz",
    "signed_heat",
    "poisson",
]
NetworkKind = Literal["softplus", "sine", "quadratic", "pyramid", "hash_grid", "lipschitz", "relu", "lattice"]
NetworkStart = Literal["siren", "sphere", "multifrequency", "mfgi", "bowl", "spread", "hotspot"]
OffsurfaceSampling = Literal["uniform", "gaussian", "local", "cloud"]
GridMoments = Literal["row", "value"]
PhaseKind = Literal["single", "preactivated"]
EikonalPoints = Literal["all", "offsurface", "surface"]
SecondOrderPoints = Literal["offsurface", "local"]
SidesFrom = Literal["flood_fill", "orientation"]
CloudNormalization = Literal["sphere", "mean", "mean_quantile", "minmax"]


@config_dataclass
class NetworkConfig:
    """Network of one field."""

    kind: NetworkKind = "softplus"
    """`softplus`: multilayer perceptron. `sine`: SIREN. `quadratic`: sine layers with quadratic pre-activations.
    `pyramid`: multi-resolution feature grids followed by a small softplus network. `hash_grid`: the same with tables of
    limited size, into which fine grids are hashed (Instant-NGP). `lipschitz`: a 1-Lipschitz network, which never
    overestimates the distance to its zero set. `relu`: as `softplus`, of rectifiers (SAL). `lattice`: values on the
    first of `resolutions`, interpolated; for the methods without training only."""
    width: Annotated[int, Field(strict=True, ge=2, le=MAX_WIDTH)] = 64
    """Units per hidden layer; at least the dimension of the points."""
    depth: Annotated[int, Field(strict=True, ge=2, le=MAX_LAYERS)] = 4
    """Number of hidden layers."""
    weight_norm: Flag = False
    """Softplus and rectifiers: weight normalization of the hidden layers (Salimans and Kingma 2016)."""
    skip: Layers = 0
    """Softplus: hidden layer (counted from 1) that also receives the input point; 0 for none."""
    frequencies: Annotated[int, Field(strict=True, ge=0, le=MAX_FREQUENCIES)] = 0
    """Softplus: octaves of Fourier features sin(2^k pi x) and cos(2^k pi x) beside the point; 0 for none. With few
    points off the cloud, as in `igr`, they leave spurious pieces away from it."""
    start: NetworkStart = "sphere"
    """Initialization. Sine networks (`models.siren`): `siren`, `sphere`, `multifrequency`, `bowl`, or `mfgi`, the
    random matrices of the releases of DiGS, StEik and HotSpot. Softplus networks (`models.softplus_mlp`): `sphere` as
    published, `spread`, a sphere whose hidden units have kinks distributed over the box, or `hotspot`, the start of
    HotSpot's planar release, which has no zero set."""
    radius: NonNegativeFloat = 0.5
    """Radius of the sphere that the field represents at initialization. For `mfgi`, of the sphere that isometries would
    give; the random matrices change it. Not used by `siren` and `hotspot`."""
    slope: NonNegativeFloat = 1.0
    """|grad u| at initialization, for the starts `sphere`, `spread` and `multifrequency`; for `mfgi` as `radius`."""
    omega: NonNegativeFloat = 30.0
    """Sine networks: frequency factor of every layer."""
    resolutions: Resolutions = (8, 16, 32, 64, 128)
    """Pyramid: cells per axis of each grid. Lattice: the cells per axis, one number."""
    channels: Channels = 4
    """Pyramid and hash grid: features per grid vertex."""
    levels: Annotated[int, Field(strict=True, ge=1, le=MAX_GRIDS)] = 8
    """Hash grid: number of grids, whose cells per axis grow geometrically from `base_resolution` to
    `finest_resolution`."""
    base_resolution: Cells = 16
    """Hash grid: cells per axis of the coarsest grid."""
    finest_resolution: Cells = 256
    """Hash grid: cells per axis of the finest grid."""
    table_bits: Annotated[int, Field(strict=True, ge=4, le=24)] = 15
    """Hash grid: T of the 2^T rows of features that a grid has at most. Vertices of larger grids share rows."""

    def __post_init__(self) -> None:
        """Check rules that involve several settings."""
        if self.kind == "lattice" and len(self.resolutions) != 1:
            raise ConfigError(f"model.resolutions of a lattice must be one number, got {list(self.resolutions)}")
        if self.kind == "pyramid" and not self.resolutions:
            raise ConfigError("model.resolutions must list the cells per axis of at least one grid, such as '[8, 32]'")
        if self.kind == "hash_grid" and self.levels > 1 and self.finest_resolution < self.base_resolution:
            raise ConfigError(
                "model.finest_resolution must not be below model.base_resolution, got "
                f"{self.finest_resolution} and {self.base_resolution}"
            )
        if self.start in ("spread", "hotspot") and self.kind in ("sine", "quadratic"):
            raise ConfigError(
                f"model.start {self.start} is for softplus networks; use sphere or multifrequency for sine networks"
            )


@config_dataclass
class FieldLossConfig:
    """Loss weights, each a schedule over the run; 0 disables a term."""

    surface: Schedule = (1.0,)
    """Mean |u| on the cloud."""
    eikonal: Schedule = (0.0,)
    """Deviation of |grad u| from 1, at the points `eikonal_points`."""
    eikonal_points: EikonalPoints = "all"
    """`all`: on the cloud and off it (SIREN, DiGS, StEik, HotSpot). `offsurface`: off the cloud only (IGR). `surface`:
    on the cloud only (Neural-Singular-Hessian)."""
    eikonal_norm: EikonalNorm = "l1"
    """`l1`: mean | |grad u| - 1 | (HotSpot). `l2`: its square (IGR)."""
    normals: Schedule = (0.0,)
    """Deviation of grad u from the normals. Unused for a cloud without normals, unless `guide` is on and estimates
    them."""
    normals_cosine: Flag = False
    """Use 1 - cos(grad u, n) (SIREN) instead of |grad u - n| (IGR)."""
    sign_agnostic: Schedule = (0.0,)
    """Mean | |u| - h | off the cloud, where h is the distance to its nearest point (SAL)."""
    sign_agnostic_normals: Schedule = (0.0,)
    """Deviation of grad u, up to its sign, from the direction away from the nearest point of the cloud (SALD)."""
    off_surface: Schedule = (0.0,)
    """Mean exp(-100 |u|) off the cloud (SIREN)."""
    heat: Schedule = (0.0,)
    """Screened-Poisson energy, integrated over the box (HotSpot)."""
    heat_lambda: Schedule = (15.0,)
    """Absorption of the heat term, in 1 / length."""
    laplacian: Schedule = (0.0,)
    """Mean |lap u| off the cloud (DiGS)."""
    directional_divergence: Schedule = (0.0,)
    """Second derivative of u along its gradient, off the cloud (StEik)."""
    singular_hessian: Schedule = (0.0,)
    """Mean |det H| off the cloud (Neural-Singular-Hessian)."""
    second_order_points: SecondOrderPoints = "offsurface"
    """Points of the terms in second derivatives. `offsurface`: all points off the cloud. `local`: the local ones only,
    of `train.offsurface_sampling: local`, where all other terms are left out (Neural-Singular-Hessian)."""
    guide: Schedule = (0.0,)
    """Mean deviation from the signed distance to the oriented cloud (`geometry.pointcloud.orientation`)."""
    guide_relative: Flag = False
    """Divide the deviation from the guide's distance d by |d| + 0.01 (Instant-NGP)."""
    hkr: Schedule = (0.0,)
    """Hinge-Kantorovich-Rubinstein loss: mean max(0, m - y u) - y u / lambda at the points of the guide, where y is 1
    outside and -1 inside. Only for 1-Lipschitz networks, because it has no lower bound for others."""
    hkr_margin: PositiveFloat = 0.01
    """m: length within which the surface is not determined by `hkr`."""
    hkr_lambda: PositiveSchedule = (100.0,)
    """lambda: weight of the sides relative to the slope."""

    @property
    def uses_guide(self) -> bool:
        """Whether a term needs the signed distance to the oriented cloud at any time of the run."""
        return any(self.guide) or any(self.hkr)


SECOND_ORDER_TERMS = ("laplacian", "directional_divergence", "singular_hessian")
"""Loss terms that need pure second derivatives of u, which are zero for the networks `NO_SECOND_DERIVATIVES`."""
NO_SECOND_DERIVATIVES: dict[NetworkKind, str] = {
    "pyramid": "a pyramid",
    "hash_grid": "a hash grid",
    "lipschitz": "a 1-Lipschitz network",
    "relu": "a network of rectifiers",
}
"""Kinds of networks that are linear along each axis between their kinks, by the name that errors use."""


PHASE_METHODS = ("medial_axis", "heat_medial")
"""Methods with a phase field, which use the section `medial`."""
HEAT_METHODS = ("heat_sdf", "heat_medial")
"""Methods that use the section `heat_sdf`."""
LATTICE_METHODS = ("signed_heat", "poisson")
"""Methods without training (`reconstruction.lattice_methods`)."""


def unused_sections(method: str) -> tuple[str, ...]:
    """Return the sections of `ReconstructConfig` that a method does not use."""
    if method in LATTICE_METHODS:
        return ("loss", "medial", "heat_sdf", "train")
    used = {"medial": method in PHASE_METHODS, "heat_sdf": method in HEAT_METHODS}
    return tuple(name for name, is_used in (used | {"loss": not any(used.values())}).items() if not is_used)


@config_dataclass
class MedialConfig:
    """Phase field v and the weights of the medial-axis functionals (`reconstruction.medial_axis`)."""

    axis_width: PositiveFloat = 0.02
    """epsilon: width of the band around the medial axis in which v falls to 0. The published 1e-3 needs the published
    20,000 points per step."""
    phase_width: Annotated[int, Field(strict=True, ge=1, le=MAX_WIDTH)] = 48
    """Units per layer of the phase network."""
    phase_blocks: Annotated[int, Field(strict=True, ge=1, le=MAX_LAYERS)] = 3
    """Residual blocks of the phase network."""
    phase_kind: PhaseKind = "single"
    """Blocks of the phase network (`models.phase_field`). `single`: one sine layer each. `preactivated`: two linear
    layers, each after a sine, as in the release."""
    phase_gain: PositiveFloat = 1.0
    """Factor of the output of each block, which is added to its input."""
    phase_omega: NonNegativeFloat = 15.0
    """Frequency factor of the phase network's layers."""
    lr_phase: NonNegativeFloat = 2e-3
    """Peak learning rate of the phase network."""
    second_order: Schedule = (0.01, 0.2, 0.01, 0.4, 1.0, 1.0)
    """Weight of v^2 |H grad u|^2."""
    phase: Schedule = (0.2,)
    """Weight of the Ambrosio-Tortorelli functional: the cost of the axis per length."""
    surface: Schedule = (4.0, 0.6, 4.0, 0.8, 40.0, 40.0)
    """Weight of u^2 on the cloud."""
    eikonal: Schedule = (0.01, 0.2, 0.01, 0.6, 0.2, 0.2)
    """Weight of (|grad u|^2 - 1)^2."""
    expansion: Schedule = (10.0, 0.2, 10.0, 0.6, 0.1, 0.1)
    """Weight of the exponential terms that remove zeros away from the cloud."""
    phase_start: Share = 0.2
    """Share of the run after which v is trained; before it, v = 1."""
    phase_freeze: Share = 0.7
    """Share of the run after which v is frozen."""
    cell_levels: Annotated[int, Field(strict=True, ge=0, le=8)] = 2
    """Maximum number of times that a cell of the sampling grid is halved."""

    def __post_init__(self) -> None:
        """Check rules that involve several settings."""
        if self.phase_start > self.phase_freeze:
            raise ConfigError(
                "medial.phase_start must not be above medial.phase_freeze, got "
                f"{self.phase_start} and {self.phase_freeze}"
            )


@config_dataclass
class HeatConfig:
    """Heat flow and weights of the methods `heat_sdf` and `heat_medial` (`reconstruction.heat_sdf`)."""

    near_time: PositiveFloat = 0.005
    """Time step of the heat flow, in units of length squared. Temperatures fall off within its square root."""
    far_time: NonNegativeFloat = 0.1
    """Longer time step, whose direction is used far from the cloud; 0 for none, as in the release."""
    share: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.3
    """Share of the run for the heat step."""
    surface: Schedule = (100.0,)
    """Weight of mean u^2 on the cloud."""
    alignment: Schedule = (1.0,)
    """Weight of the deviation of grad u from the direction of the heat flow."""
    sides: Schedule = (1.0,)
    """Weight of wrong signs in the cells inside and outside."""
    alignment_width: PositiveFloat = 0.005
    """Width of the transition between inside and outside in the alignment term."""
    side_width: PositiveFloat = 0.05
    """|u| from which on a sign counts as fully right or wrong. Signs are corrected only where |u| is below it."""
    side_points: Count = 500
    """Number of points per step in cells inside, and in cells outside."""
    cells: Annotated[int, Field(strict=True, ge=4, le=512)] = 64
    """Cells per axis of the lattice that determines which side is inside."""
    sides_from: SidesFrom = "flood_fill"
    """`flood_fill` (as released): everything that the boundary of the box cannot reach is inside; the cloud must have
    no gaps of more than three cells. `orientation`: the sign of the distance to the oriented cloud
    (`geometry.pointcloud.orientation`), which tells cavities and nested curves apart and bridges gaps."""


@config_dataclass
class FieldTrainConfig:
    """Optimization and sampling."""

    steps: PositiveInt = 5000
    """Maximum number of steps. With `minutes`, schedules follow whichever budget is used up faster."""
    minutes: NonNegativeFloat = 0.0
    """Wall-clock budget of the steps; 0 for none."""
    patience: NonNegativeInt = 0
    """Stop when the surface term has not fallen by 1 % for this many windows of 100 steps; 0 disables it."""
    lr_network: NonNegativeFloat = 1e-3
    """Peak learning rate of the network (Adam)."""
    lr_matrices: NonNegativeFloat = 0.0
    """Above 0: optimize hidden weight matrices by Muon, with updates of this spectral norm, instead of Adam. Fine
    details are fitted in fewer steps."""
    lr_grid: NonNegativeFloat = 1e-2
    """Pyramid and hash grid: peak learning rate of the grid features."""
    grid_moments: GridMoments = "row"
    """Pyramid and hash grid: Adam's second moments, one per `row` of features or one per `value` (Instant-NGP)."""
    lr_final: Share = 0.02
    """Share of each learning rate left at the end of its cosine decay."""
    halve_steps: NonNegativeInt = 0
    """Above 0: instead of the cosine decay, halve the learning rates each time this many steps have passed (IGR)."""
    warmup_steps: NonNegativeInt = 100
    """Steps of linear warm-up of the learning rates."""
    beta2: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.99
    """Decay of Adam's second moments."""
    clip: NonNegativeFloat = 10.0
    """Maximum gradient norm of the network parameters that Adam updates; 0 for no limit."""
    surface_points: Count = 512
    """Number of points of the cloud per step."""
    offsurface_points: Annotated[int, Field(strict=True, ge=2, le=100_000_000)] = 512
    """Number of points off the cloud per step: a share `offsurface_share` drawn by `offsurface_sampling`, the rest
    uniformly."""
    offsurface_sampling: OffsurfaceSampling = "gaussian"
    """`uniform` in the box (SIREN, DiGS, StEik). `gaussian`: normal around the origin (HotSpot). `local`: points of the
    cloud plus normal noise with the distance to the 50th neighbor as standard deviation (IGR). `cloud`: the same, and
    the rest not uniform but points of the cloud plus normal noise of standard deviation `offsurface_std` (SAL)."""
    offsurface_share: Share = 0.5
    """Share of off-surface points drawn by `offsurface_sampling`."""
    offsurface_std: PositiveFloat = 0.5
    """Standard deviation per axis of the normal distribution around the origin, or of the wide noise of `cloud`."""
    seed: Seed = 0
    """Seed of the initialization and of all random samples."""


@config_dataclass
class ReconstructConfig:
    """Configuration of `reconstruct`. `reconstruction.presets.preset` returns one per method."""

    method: str = "hotspot"
    """Name of the method. `medial_axis` uses the section `medial`, `heat_sdf` uses `heat_sdf`, `heat_medial` both,
    `signed_heat` and `poisson` neither, nor `train`; all other methods use `loss`."""
    model: NetworkConfig = field(default_factory=NetworkConfig)
    loss: FieldLossConfig = field(default_factory=FieldLossConfig)
    medial: MedialConfig = field(default_factory=MedialConfig)
    heat_sdf: HeatConfig = field(default_factory=HeatConfig)
    train: FieldTrainConfig = field(default_factory=FieldTrainConfig)
    denoise: Flag = False
    """Smooth the cloud first if its noise exceeds its spacing (`geometry.pointcloud.denoising`)."""
    extent: Annotated[float, Field(strict=True, ge=1)] = 1.1
    """Half the side of the box in which the field is fitted, in the frame of `normalization`."""
    normalization: CloudNormalization = "sphere"
    """Frame in which the field is fitted, and to which lengths of the other settings refer. `sphere`: model space.
    Published frames (`geometry.pointcloud.published_frames`) have the mean of the points at the origin: `mean` divides
    by the largest |coordinate| (SAL, DiGS, StEik), `mean_quantile` by the maximum of this and the 70 % quantile of the
    radii over 0.45 (HotSpot in 3D), and `minmax` moves the smallest and the largest of all coordinates to -1 and 1
    (SIREN). The fitted field is converted to model space."""

    def __post_init__(self) -> None:
        """Check rules that involve several sections."""
        if self.train.offsurface_sampling in ("local", "cloud") and any(self.loss.heat):
            raise ConfigError(
                "loss.heat is an integral over the box and needs the sampling density: train.offsurface_sampling must "
                f"be gaussian or uniform, got {self.train.offsurface_sampling}"
            )
        if self.loss.second_order_points == "local" and self.train.offsurface_sampling != "local":
            raise ConfigError(
                "loss.second_order_points: local needs train.offsurface_sampling: local, got "
                f"{self.train.offsurface_sampling}"
            )
        if self.method in PHASE_METHODS and self.normalization != "sphere":
            raise ConfigError(f"{self.method} is fitted in model space: normalization sphere, got {self.normalization}")
        if self.method in HEAT_METHODS and self.model.kind not in ("sine", "quadratic"):
            raise ConfigError(f"{self.method} needs model.kind sine or quadratic, got {self.model.kind}")
        if (self.method in LATTICE_METHODS) != (self.model.kind == "lattice"):
            raise ConfigError(
                f"model.kind lattice is for {' and '.join(LATTICE_METHODS)}, and they need it; got {self.method} with "
                f"{self.model.kind}"
            )
        if self.method in LATTICE_METHODS and self.normalization != "sphere":
            raise ConfigError(f"{self.method} is solved in model space: normalization sphere, got {self.normalization}")
        kind = self.model.kind
        if kind in NO_SECOND_DERIVATIVES:
            network = NO_SECOND_DERIVATIVES[kind]
            if self.method in PHASE_METHODS:
                raise ConfigError(
                    f"{network} has no pure second derivatives; {self.method} needs model.kind sine or softplus"
                )
            if self.normalization != "sphere" and kind in ("pyramid", "hash_grid"):
                raise ConfigError(f"{network} is fitted in model space: normalization sphere, got {self.normalization}")
            weighted = [f"loss.{name}" for name in SECOND_ORDER_TERMS if any(getattr(self.loss, name))]
            if weighted:
                raise ConfigError(f"{network} has no pure second derivatives; leave out {' and '.join(weighted)}")
        if kind != "lipschitz" and (any(self.loss.hkr) or self.method == "lipschitz"):
            what = "the method lipschitz" if self.method == "lipschitz" else "loss.hkr"
            raise ConfigError(f"{what} needs model.kind lipschitz, a 1-Lipschitz network, got {kind}")


def with_field_options(config: ReconstructConfig, options: Mapping[str, Any]) -> ReconstructConfig:
    """Return a configuration with some settings replaced.

    Args:
        config: The configuration.
        options: Settings of the section `train`, `denoise` and `extent`, by name.

    Returns:
        The configuration.

    Raises:
        ConfigError: A setting is unknown or has a value outside its range.
    """
    whole = {name: value for name, value in options.items() if name in ("denoise", "extent")}
    train = {name: value for name, value in options.items() if name not in whole}
    return dataclasses.replace(config, train=with_options(FieldTrainConfig, config.train, train), **whole)
