"""Settings of training a shape space: loss weights, optimization, and the whole configuration of a run.

Lengths are in model space, the box [-1, 1]^3, unless a field says voxels.
"""

from dataclasses import dataclass, field
from typing import Literal

from latentsdf.config.model import Branch, ModelConfig

CodePenalty = Literal["norm", "squared", "kl"]
EikonalNorm = Literal["l1", "l2"]
Schedule = Literal["cosine", "halving"]
Draw = Literal["even", "signs", "near", "surface"]
Samples = Literal["sdf", "points"]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the training loss. Data terms are mean absolute errors; the rest is off at 0."""

    general: float = 1.0
    """Data term of the general branch, on free-space and band samples; with `train.samples` points |s| on these."""
    normals: float = 0.0
    """Mean |grad s - n| at points of the surface with outward unit normals n (IGR's tau), with `train.samples` points.
    At 0 normals are not read, and the side that is inside follows from the recipe's start as a sphere."""
    overfit: float = 1.0
    """Data term of the overfit branch, on band samples."""
    agreement: float = 0.0
    """Mean |s_o - s_g| within 0.05 of s_g's surface at codes between those of the batch. The grid holds the detail of
    training shapes; this keeps it from roughening others."""
    clamp: float = 0.0
    """Free-space samples are compared after clamping to +-clamp (DeepSDF); 0 for no clamping: unseen shapes then have
    fewer surfaces where nothing should be."""
    code: float = 0.0
    """Prior on the codes of the batch; the published presets have 1e-4. For codes that stay in a ball around the origin
    or, by `code_prior` kl, can be sampled. Ours are held together by `train.code_decay`."""
    code_prior: CodePenalty = "norm"
    """Mean Euclidean norm (DeepSDF's and Compact-SDF's code), mean squared norm (DeepSDF's paper: a Gaussian prior),
    or the divergence of the batch's codes, taken as a Gaussian, from N(0, train.code_std^2) in every component: for
    codes that are to be sampled. The last needs batches of 2 shapes or more."""
    feature: float = 0.0
    """Mean Euclidean norm of the grid features looked up (Compact-SDF, METHODS 1.2). For paths between shapes: at 1e-3
    their steps varied 0.82 times as much, in one run, and normals of known shapes were 1.17 times as far off
    (benchmarks/README.md)."""
    eikonal: float = 0.0
    """Deviation of |grad s| from 1: makes the field a distance away from the samples."""
    eikonal_norm: EikonalNorm = "l1"
    """`l1` for | |grad s| - 1 | (HotSpot), `l2` for its square (IGR)."""
    eikonal_branch: Branch = "general"
    """Terms on the overfit branch also reach the general one where `model.residual` adds to it; so for those below."""
    heat: float = 0.0
    """HotSpot's screened-Poisson energy: suppresses spurious surface far from the shape (METHODS 7). Of the general
    branch an unbiased estimate of its integral over the box; of the overfit one, which holds in the band alone, the
    mean of the integrand over band samples, which is no energy but a weight against steepness there."""
    heat_lambda: tuple[float, ...] = (15.0,)
    """Absorption of the heat term, in 1 / model-space length: a schedule (v0, t1, v1, ..., end) over the run
    (`losses.schedule`), a number for a constant one. HotSpot begins low and ends high: (4, 0.2, 4, 30)."""
    heat_branch: Branch = "general"
    divergence: float = 0.0
    """StEik's directional divergence: how the gradient bends along itself, steadies the eikonal term. For softplus."""
    divergence_branch: Branch = "general"
    lipschitz: float = 0.0
    """Mean squared slope of the distance in the code: interpolation without jumps."""
    lipschitz_branch: Branch = "general"
    regularizer_points: int = 64
    """Uniform points per shape on which the general branch's regularizers are estimated; the heat term has as many of
    its own, half of which crowd where shapes are. With `train.samples` points the eikonal term also sees every surface
    point once, moved by Gaussian noise of standard deviation 0.01 (IGR)."""
    ramp_epochs: int = 0
    """Epochs over which the code and feature terms rise from zero."""


@dataclass(frozen=True)
class TrainConfig:
    """The optimization."""

    steps: int = 20_000
    """Length of the run; `minutes` ends it earlier and the schedule follows the clock then."""
    epochs: int = 0
    """Passes over all shapes, where they end the run earlier than `steps`; 0 for none."""
    minutes: float = 0.0
    """Wall-clock budget of the training steps; 0 for none. Writing checkpoints comes on top."""
    samples: Samples = "sdf"
    """Learn from signed distances, or from nothing but points on the surfaces (IGR, METHODS 3): the general branch
    alone, by `loss.general`, `loss.normals` and `loss.eikonal`, in float32."""
    shapes_per_batch: int = 64
    points_per_shape: int = 128
    """Band samples, or surface points, per shape and step."""
    free_share: float = 0.5
    """Free-space samples per band sample; the general branch sees as many band samples as free-space ones."""
    draw: Draw = "even"
    """How samples are drawn: all alike, half of them inside (DeepSDF), half of them within 0.1 of the surface and of
    the rest half inside (Compact-SDF), or, of the band's, half of them right beside the surface: the lattice vertices
    that a mesh is read off."""
    lattice: bool = False
    """The overfit branch also sees the sparse lattice over the whole box, and the general branch free space alone
    (Compact-SDF)."""
    lr_network: float = 8e-3
    lr_grid: float = 2e-2
    lr_code: float = 5e-3
    warmup_steps: int = 50
    """Steps over which the learning rates rise from zero."""
    schedule: Schedule = "cosine"
    """Cosine decay over the budget, or halving every `halve_epochs`."""
    lr_final: float = 0.02
    """Share of each learning rate left at the end of its cosine decay."""
    halve_epochs: int = 500
    """Passes over all shapes after which the learning rates are halved once more."""
    beta2: float = 0.99
    """Decay of Adam's second moments."""
    code_std: float = 0.01
    """Standard deviation of a code's components at the start; small, so that all shapes start as one."""
    code_decay: float = 0.1
    """Decoupled decay (AdamW, Loshchilov & Hutter 2019) of the weights by which codes act on layers, 0 for none: shapes
    then differ by no more than their samples ask for, which serves unseen ones."""
    code_bound: float = 0.0
    """Largest norm of a code; 0 for none."""
    memory_gb: float = 4.0
    """Samples held in memory. What does not fit is streamed: a random part of every shape, or of some shapes."""
    refresh_steps: int = 4
    """Steps after which one resident part is replaced by another, read in the background, where it is streamed."""
    checkpoint_minutes: float = 2.0
    """Time between checkpoints."""
    picture_minutes: float = 0.0
    """Time between pictures of reconstructions, `pictures/<step>.png` in the checkpoint folder; 0 for none."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too; needs the extra `tensorboard`."""
    log_every: int = 50
    """Steps between lines of `metrics.jsonl`."""
    bf16: bool = True
    """Matrix products in bfloat16 where the device multiplies it natively: GPUs from Ampere on, processors with
    AVX512-BF16 or AMX. Others compute in float32, as all do without it."""
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """A whole training run; a YAML file in `configs/` lists what differs from these defaults."""

    preset: str = "latentsdf"
    """Name of the recipe, kept with the checkpoint."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
