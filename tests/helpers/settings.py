"""Small settings of every configuration, with which a test runs in seconds."""

from dataclasses import replace
from typing import Any

from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config, TrainConfig

SMALL_SAMPLING = SamplingConfig(
    resolution=64, band_voxels=3.0, sparse_resolution=32, near=4000, uniform=4000, surface=1000
)
SMALL_MODEL = ModelConfig(
    code_dim=8,
    general=BranchConfig(width=48, depth=3, frequencies=3),
    overfit=BranchConfig(width=32, depth=2, frequencies=0),
    grid=GridConfig(32, 8),
)

TINY_MODEL = replace(
    SMALL_MODEL,
    warp=BranchConfig(width=8, depth=1, activation="softplus"),
    general=BranchConfig(width=24, depth=2, frequencies=2),
    overfit=BranchConfig(width=16, depth=1, frequencies=0),
)
"""For tests in which accuracy does not matter; most of their time goes into decoding."""

FAST = InvertConfig(steps=20, starts=2, points=1024, assess=False)
FIT = InvertConfig(steps=60, starts=2, points=1024, assess=False)
REFINEMENT = RefineConfig(resolution=128, band_voxels=4, sheet_thickness=1)
LEARNED = replace(REFINEMENT, budget_kb=0, steps=150, points=4096, lattice=32)
"""Refinement without a limit of size."""


def small_config(*, model: ModelConfig = SMALL_MODEL, **changes: float) -> Config:
    """Return a configuration that trains four shapes in seconds."""
    settings = {"steps": 400, "shapes_per_batch": 4, "points_per_shape": 512, "log_every": 20, "memory_gb": 0.1}
    return Config(preset="small", model=model, train=TrainConfig(**(settings | changes)))  # type: ignore[arg-type]


def short_preset(method: str, dim: int = 2, steps: int = 120) -> ReconstructConfig:
    """Return the preset of a reconstruction method with a small network and batch, which trains in seconds."""
    from latentsdf.reconstruction.presets import preset

    config = preset(method, dim)
    resolutions = (32,) if config.model.kind == "lattice" else (4, 8, 16, 32)
    model = replace(config.model, width=32, depth=3, resolutions=resolutions)
    return with_train(replace(config, model=model), steps=steps, surface_points=256, offsurface_points=256)


def with_train(config: ReconstructConfig, **changes: Any) -> ReconstructConfig:
    """Return a copy with other settings in the section `train`."""
    return replace(config, train=replace(config.train, **changes))
