"""Settings of training a shape space: loss weights, optimization, and the whole configuration of a run.

Notation: s is the signed distance (negative inside), s_g that of the general branch, s_o that of the overfit branch,
n the outward unit normal. Lengths are in model space, the box [-1, 1]^3.
"""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from latentsdf.config.model import Branch, ModelConfig
from latentsdf.config.schedules import is_used
from latentsdf.config.validation import (
    Count,
    Flag,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveSchedule,
    Schedule,
    Schedules,
    Seed,
    Share,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError

CodePenalty = Literal["norm", "squared", "kl"]
EikonalNorm = Literal["l1", "l2"]
Draw = Literal["even", "signs", "near", "surface"]
Samples = Literal["sdf", "points"]
TableOptimizer = Literal["row_adam", "adam"]
MetricLogName = Literal["csv", "tensorboard", "trackio", "wandb"]


@config_dataclass
class LossConfig:
    """Loss weights, each a schedule over the run; 0 disables a term. Data terms are mean absolute errors."""

    general: Schedule = (1.0,)
    """Data term of the general branch, on off-surface and band samples."""
    overfit: Schedule = (1.0,)
    """Data term of the overfit branch, on band samples."""
    surface: Schedule = (1.0,)
    """With `train.samples: points`: mean |s_g| at points on the surface."""
    normals: Schedule = (0.0,)
    """With `train.samples: points`: mean |grad s_g - n| at points on the surface (IGR). At 0, normals are not
    read, and the initialization as a sphere determines which side is inside."""
    agreement: Schedule = (0.0,)
    """Mean |s_o - s_g|, both clamped to +-0.05, at codes between those of the batch. Keeps the grid, which stores the
    detail of training shapes, from making other shapes rough."""
    clamp: NonNegativeFloat = 0.0
    """Off-surface samples are compared after clamping to +-clamp (DeepSDF); 0 for no clamping, which reduces spurious
    surfaces of unseen shapes."""
    clamp_band: Flag = False
    """Clamp at band samples of the general branch as well, as DeepSDF does at all samples."""
    code: Schedule = (0.0,)
    """Prior on the codes of the batch. It keeps the codes near the origin or, with `code_prior: kl`, makes them follow
    a Gaussian that can be sampled. The published presets use 1e-4; by default, `train.code_decay` regularizes codes."""
    code_prior: CodePenalty = "norm"
    """`norm`: mean Euclidean norm (code of DeepSDF and Compact-SDF). `squared`: mean squared norm (Gaussian prior of
    the DeepSDF paper). `kl`: KL divergence of the batch's codes, as a Gaussian, from N(0, train.code_std^2), mean over
    the components; needs 2 shapes per batch or more."""
    local: Schedule = (0.01,)
    """Mean square of the local parts of the codes (`model.local`)."""
    feature: Schedule = (0.0,)
    """Mean Euclidean norm of the grid features looked up (Compact-SDF). Makes interpolation smoother: at 1e-3, in one
    run, the variation between steps was 0.82 times and the normal error of training shapes 1.17 times as large."""
    regularizer_branch: Branch = "general"
    """Branch on which the eikonal, heat, directional divergence and Lipschitz terms are evaluated. With
    `model.residual`, gradients of terms on the overfit branch also reach the general branch."""
    eikonal: Schedule = (0.0,)
    """Deviation of |grad s| from 1: makes the field a distance also away from the samples."""
    eikonal_norm: EikonalNorm = "l1"
    """`l1`: mean | |grad s| - 1 | (HotSpot). `l2`: its square (IGR)."""
    heat: Schedule = (0.0,)
    """HotSpot's screened-Poisson energy: removes spurious surface far from the shape. On the general branch, an
    unbiased estimate of the integral over the box. On the overfit branch, the mean of the integrand over band samples:
    a penalty on steepness, not an energy."""
    heat_lambda: PositiveSchedule = (15.0,)
    """Absorption of the heat term, in 1 / length. HotSpot increases it over the run: [4, 0.2, 4, 30]."""
    directional_divergence: Schedule = (0.0,)
    """Second derivative of s along its gradient (StEik): stabilizes the eikonal term. Needs activation softplus."""
    lipschitz: Schedule = (0.0,)
    """Mean squared norm of ds / dz, the slope of the distance in the code: smooth interpolation between codes."""
    regularizer_points: Count = 64
    """Uniform points per shape on which regularizers of the general branch are estimated. The heat term uses as many
    additional points, half of them drawn from a Gaussian around the origin. With `train.samples: points`, the eikonal
    term is also evaluated at every surface point, displaced by Gaussian noise of standard deviation 0.01 (IGR)."""
    regularizer_extent: PositiveFloat = 1.0
    """Half side of the box of the uniform points; the points of the heat term are in [-1, 1]^3."""
    ramp_epochs: NonNegativeInt = 0
    """Epochs over which the code and feature terms rise from zero to their weights."""
    extra: Schedules = Field(default_factory=dict)
    """Weights of losses of your own, by name: `{mine: 0.1}`. The functions come from `ls.train(losses=...)` or from an
    installed package (entry points of the group `latentsdf.losses`)."""

    def __post_init__(self) -> None:
        """Check the names of `extra`, which are logged beside the other terms."""
        taken = {field.name for field in dataclasses.fields(self)} | {"loss", "step", "seconds"}
        for name in self.extra:
            if name in taken or not name.isidentifier():
                raise ConfigError(
                    f"loss.extra: '{name}' cannot name a loss; expected letters, digits and _, and none of the names "
                    "of settings of loss"
                )


@config_dataclass
class TrainConfig:
    """Optimization and sampling."""

    steps: PositiveInt = 20_000
    """Maximum number of steps. With `epochs` or `minutes`, schedules follow whichever budget is used up fastest."""
    epochs: NonNegativeInt = 0
    """Maximum number of passes over all shapes; 0 for no limit."""
    minutes: NonNegativeFloat = 0.0
    """Wall-clock budget of the steps, without the time to write checkpoints; 0 for no limit."""
    samples: Samples = "sdf"
    """`sdf`: learn from signed distances. `points`: learn from surface points only (IGR), in float32. Trains only the
    general branch, with the terms `loss.surface`, `loss.normals` and `loss.eikonal`."""
    shapes_per_batch: Count = 64
    """Number of shapes per step and process."""
    batch_split: Count = 1
    """Parts into which the shapes of a step are split, one after the other, to save memory. The gradients of the parts
    are averaged, as in one batch, except that terms between shapes (`agreement`, `lipschitz`) pair those of a part."""
    points_per_shape: Annotated[int, Field(strict=True, ge=2, le=100_000_000)] = 128
    """Number of band samples, or of surface points, per shape and step."""
    free_share: NonNegativeFloat = 0.5
    """Number of off-surface samples per band sample. The general branch is trained on as many band samples as
    off-surface samples."""
    source: str = ""
    """Name of a source of batches in an installed package (entry points of the group `latentsdf.sources`), which then
    reads the data; empty for a sample store."""
    sampler: str = ""
    """Name of a sampler in an installed package (entry points of the group `latentsdf.samplers`), which then replaces
    `draw`; empty for `draw`."""
    draw: Draw = "even"
    """Distribution of the drawn samples. `even`: uniform over the stored samples. `signs`: half inside, half outside
    (DeepSDF). `near`: half within 0.1 of the surface, a quarter inside and a quarter outside (Compact-SDF). `surface`:
    half of the band samples within one cell of the surface, at the lattice vertices that marching cubes interpolates.
    """
    lattice: Flag = False
    """Train the overfit branch also on the sparse lattice over the whole box, and the general branch on off-surface
    samples only (Compact-SDF)."""
    table_optimizer: TableOptimizer = "row_adam"
    """Optimizer of the grid and the codes. `row_adam`: changes only the rows that a step reads, with one second moment
    per row. `adam`: changes all rows in each step, with one second moment per value, as in the releases of DeepSDF,
    Compact-SDF and IGR; takes twice the memory, and time that grows with the grid."""
    lr_network: NonNegativeFloat = 8e-3
    """Peak learning rate of the networks (AdamW)."""
    lr_grid: NonNegativeFloat = 2e-2
    """Peak learning rate of the feature grid."""
    lr_code: NonNegativeFloat = 5e-3
    """Peak learning rate of the codes."""
    lr_local: NonNegativeFloat = 5e-3
    """Peak learning rate of the local parts of the codes (`model.local`)."""
    warmup_steps: NonNegativeInt = 50
    """Steps of linear warm-up of the learning rates."""
    lr_final: Share = 0.02
    """Share of each learning rate left at the end of its cosine decay."""
    halve_epochs: NonNegativeInt = 0
    """Above 0: instead of the cosine decay, halve the learning rates each time this many epochs have passed."""
    beta2: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.99
    """Decay of Adam's second moments."""
    code_std: NonNegativeFloat = 0.01
    """Standard deviation of the components of a code at initialization; small, so that all shapes start nearly
    equal."""
    code_decay: NonNegativeFloat = 0.1
    """Decoupled weight decay (AdamW) of the weights that multiply codes; 0 for none. Limits how much shapes differ from
    each other to what their samples require, which improves unseen shapes."""
    code_bound: NonNegativeFloat = 0.0
    """Maximum norm of a code; 0 for no limit."""
    memory_gb: PositiveFloat = 4.0
    """Memory for samples, in GB (10^9 bytes). If they do not fit, random subsets of all shapes, or of some shapes at a
    time, are streamed."""
    checkpoint_minutes: NonNegativeFloat = 2.0
    """Minutes between checkpoints."""
    image_minutes: NonNegativeFloat = 0.0
    """Minutes between images of reconstructions, `pictures/<step>.png` in the checkpoint folder; 0 for none."""
    log: Literal["none", "csv", "tensorboard", "trackio", "wandb"] = "none"
    """Log besides `metrics.jsonl`: `csv` for `metrics.csv`, `tensorboard`, `trackio` or `wandb` (extras of these
    names). The last two use the name of the checkpoint folder, and the project in TRACKIO_PROJECT or WANDB_PROJECT."""
    tensorboard: Flag = False
    """Also write the metrics as TensorBoard events, like `log: tensorboard`."""
    log_every: PositiveInt = 50
    """Number of steps between lines of `metrics.jsonl`."""
    bf16: Flag = True
    """Compute matrix products in bfloat16 where the device supports it natively: GPUs from Ampere on, CPUs with
    AVX512-BF16 or AMX. Other devices compute in float32."""
    seed: Seed = 0
    """Seed of the initialization and of all random samples."""


@config_dataclass
class Config:
    """Configuration of a training run; a preset or YAML file lists the settings that differ from the defaults."""

    preset: str = "latentsdf_cpu"
    """Name of the preset, stored in the checkpoint."""
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self) -> None:
        """Check the rules that involve several sections."""
        if self.train.sampler and (self.train.samples == "points" or self.train.source):
            raise ConfigError(
                "train.sampler draws from the signed samples of a store; remove it with train.samples: points and "
                "with train.source"
            )
        if self.train.batch_split > 1 and self.loss.code_prior == "kl" and is_used(self.loss.code):
            raise ConfigError(
                "loss.code_prior: kl is a statistic of the codes of a whole batch; set train.batch_split to 1"
            )
        if self.train.samples == "sdf":
            if is_used(self.loss.normals):
                raise ConfigError("loss.normals needs points of the surface; also set train.samples: points")
            return
        if self.model.overfit.width > 0:
            raise ConfigError(
                "train.samples: points trains the general branch only; set model.overfit.width to 0, as "
                "the preset `igr` does"
            )
        if not is_used(self.loss.eikonal):
            raise ConfigError(
                "train.samples: points needs loss.eikonal above 0; without it, a field that is zero everywhere has "
                "zero loss"
            )
