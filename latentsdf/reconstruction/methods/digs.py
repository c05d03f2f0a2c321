"""DiGS: divergence-guided shape implicits for unoriented points (Ben-Shabat et al. 2022, Sec. 3).

Loss: 3000 mean |u| + 100 mean exp(-100 |u|) + 50 mean | |grad u| - 1 | + w mean clamp(|lap u|, 0.1, 50). The clamp is
taken from the release; the formula in the paper has none.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldLossConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import (
    published_start,
    relaxed,
    sine_preset,
    surface_benchmark_training,
    with_guide,
)

_LOSS = FieldLossConfig(surface=(3000.0,), off_surface=(100.0,), eikonal=(50.0,), laplacian=relaxed(100.0))


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores; guided in 2D."""
    config = replace(sine_preset("digs", "sine"), loss=_LOSS)
    return with_guide(config) if dim == 2 else config


def published(dim: int) -> ReconstructConfig:
    """Settings of the release for the surface reconstruction benchmark."""
    config = sine_preset("digs", "sine")
    return replace(
        config,
        model=published_start(replace(config.model, width=256, depth=5), dim, radius=0.66, slope=0.23),
        loss=_LOSS,
        train=surface_benchmark_training(config.train, lr_network=5e-5),
        normalization="mean",
    )
