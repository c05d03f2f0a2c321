"""Settings for fitting latent codes to new shapes (`InvertConfig`, `AdamConfig`) and refining fits (`RefineConfig`).

Lengths are in model space, the box [-1, 1]^3, unless a setting is in cells. `ADAM_RECIPES` has the numbers of published
inversions, as in the releases of DeepSDF (Park et al. 2019, `reconstruct.py`), Compact-SDF (Bai et al. 2026, its former
`reconstruct_dfaust.py`) and IGR (Gropp et al. 2020, `shapespace/latent_optimizer.py`).
"""

import dataclasses
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from latentsdf.config.frames import Frame
from latentsdf.config.training import Config
from latentsdf.config.validation import (
    Flag,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    Share,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError

InvertMethod = Literal["gauss_newton", "adam"]
AdamLoss = Literal["distances", "points"]
AdamDraw = Literal["even", "signs", "near"]
CodeNorm = Literal["squared", "absolute"]
OverfitSamples = Literal["band", "all"]
AdamRecipe = Literal["deepsdf", "compact_sdf", "igr"]
"""Publication whose numbers `InvertConfig.adam` has."""


@config_dataclass
class AdamConfig:
    """Fit of one code by Adam from one random start; by default with the numbers of DeepSDF.

    With loss `distances`, the samples x with signed distances d give

        mean |clip(s_g(x)) - clip(d)| + mean |clip(s_o(x)) - clip(d)| + prior * mean_k z_k^2,

    without the second term for a model with one branch. With loss `points`, oriented points x of the surface give, on
    the general branch s (IGR),

        mean |s(x)| + normals * mean |grad s(x) - n| + eikonal * mean (|grad s(y)| - 1)^2 + prior * mean_k |z_k|,

    where y are the points with Gaussian noise of standard deviation 0.01, and an eighth as many in a box.
    """

    loss: AdamLoss = "distances"
    """`distances`: signed distances at samples. `points`: points of the surface with normals."""
    steps: PositiveInt = 800
    """Number of steps."""
    lr: PositiveFloat = 5e-3
    """Learning rate of the first half of the steps."""
    lr_drop: Share = 0.1
    """Share of the learning rate in the second half."""
    points: Annotated[int, Field(strict=True, ge=2, le=10_000_000)] = 8_000
    """Samples per step and branch. Points of the surface are drawn once, as in the release of IGR."""
    draw: AdamDraw = "signs"
    """Distribution of the samples. `even`: uniform over those of the observation. `signs`: half inside, half outside.
    `near`: half within 0.1 of the surface, a quarter inside and a quarter outside."""
    clamp: NonNegativeFloat = 0.1
    """Distances are compared after clamping to +-clamp; 0 for no clamping."""
    overfit: OverfitSamples = "band"
    """Samples of the overfit branch: `band` for those within 0.05 of the surface, `all` for a branch that was trained
    in the whole box (`train.lattice`)."""
    prior: NonNegativeFloat = 1e-4
    """Weight of the penalty on the code."""
    prior_norm: CodeNorm = "squared"
    """Penalty: mean z_k^2, or mean |z_k|."""
    start_std: NonNegativeFloat = 0.01
    """Standard deviation of the random start; 0 for 1 / L with the length L of the code."""
    normals: NonNegativeFloat = 1.0
    """With loss `points`: weight of the normals; 0 for points without normals."""
    eikonal: NonNegativeFloat = 0.1
    """With loss `points`: weight of the eikonal term."""
    box: PositiveFloat = 1.8
    """With loss `points`: half side of the box of the uniform points."""


ADAM_RECIPES: dict[AdamRecipe, AdamConfig] = {
    "deepsdf": AdamConfig(),
    "compact_sdf": AdamConfig(steps=2_000, points=4_000, draw="near", clamp=0.0),
    "igr": AdamConfig(
        loss="points", points=16_384, draw="even", clamp=0.0, prior=1e-3, prior_norm="absolute", start_std=0.0
    ),
}
"""Published numbers. What depends on the space instead is set by `adam_recipe`."""


def adam_recipe(training: Config, recipe: AdamRecipe | None = None) -> AdamConfig:
    """Return the published inversion that belongs to a space.

    Args:
        training: Configuration of the space.
        recipe: Publication; None for the one whose preset trained the space, or, for other presets, IGR for a space of
            surface points, Compact-SDF for a space with two branches, and DeepSDF for the others.

    Returns:
        The numbers of the release, with the overfit branch compared where it was trained, and without normals if the
        space was trained without them.
    """
    published = ADAM_RECIPES[recipe or adam_recipe_name(training)]
    overfit: OverfitSamples = "all" if training.train.lattice else "band"
    learned_normals = training.train.samples == "sdf" or any(training.loss.normals)
    return dataclasses.replace(published, overfit=overfit, normals=published.normals if learned_normals else 0.0)


def adam_recipe_name(training: Config) -> AdamRecipe:
    """Return the publication whose inversion `adam_recipe` uses for a space by default."""
    for name in ADAM_RECIPES:
        if training.preset == name or training.preset.startswith(f"{name}_"):
            return name
    if training.train.samples == "points":
        return "igr"
    return "compact_sdf" if training.model.overfit.width > 0 else "deepsdf"


@config_dataclass
class InvertConfig:
    """Fit of a latent code to a new shape; the networks and the feature grid are frozen."""

    method: InvertMethod = "gauss_newton"
    """`gauss_newton`: the solver of this library. `adam`: a published inversion, whose settings are `adam`; of the
    following settings, it uses `partial`, `frame`, `assess` and `seed`, and it fits a single code."""
    recipe: AdamRecipe | None = None
    """With method `adam`: `deepsdf`, `compact_sdf` or `igr`, whose published numbers are used; by default, those that
    belong to the space (`adam_recipe`)."""
    adam: AdamConfig | None = None
    """Other settings of method `adam` than those of a recipe."""
    steps: PositiveInt = 40
    """Maximum number of Gauss-Newton steps for the shared code; a fit ends earlier if it no longer improves. Up to 6
    steps per round follow with codes by layer."""
    starts: Annotated[int, Field(strict=True, ge=1, le=1000)] = 32
    """Number of initial codes: the best-ranked training codes and their mean. After every few steps, only the best
    quarter is optimized further, until one is left."""
    points: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] = 2048
    """Number of samples of the observation used by the fit, twice as many for codes with a local part; at most a
    quarter of it while starts are compared."""
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

    def __post_init__(self) -> None:
        """Check the settings that exclude each other."""
        if self.method == "adam":
            if self.align:
                raise ConfigError("published inversions estimate no placement; leave out align, or method adam")
            if self.recipe is not None and self.adam is not None:
                raise ConfigError("recipe and adam were both given; pass one of them")
        elif self.recipe is not None or self.adam is not None:
            given = "adam" if self.recipe is None else "recipe"
            raise ConfigError(f"{given} belongs to method adam; also set method to adam")

    def for_space(self, training: Config) -> "InvertConfig":
        """Return the settings for a space: those of method `adam` in full.

        Args:
            training: Configuration of the space.
        """
        if self.method != "adam" or self.adam is not None:
            return self
        return dataclasses.replace(self, recipe=None, adam=adam_recipe(training, self.recipe))


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
