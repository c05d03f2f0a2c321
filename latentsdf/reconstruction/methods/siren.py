"""SIREN: sine networks fitted to oriented points (Sitzmann et al. 2020, Eq. 6).

Loss: 1500 mean |u| + 50 mean exp(-100 |u|) + 50 mean | |grad u| - 1 | + 50 mean (1 - cos(grad u, n)). The weights are
those of the release, halved for terms that the release averages over all points although they apply only to surface or
only to off-surface points.

The release trains for 10,000 epochs of N // 1,400 steps, 710,000 steps for 100,000 points; with a batch of 250,000
points, as in its README, an epoch has few steps. The published settings make 10,000 steps of 1,400 points, which takes
a quarter of an hour on one core; `train.steps` sets more.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldLossConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import published_training, sine_preset


def small(_: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    config = sine_preset("siren", "sine")
    return replace(
        config,
        model=replace(config.model, start="siren"),
        loss=FieldLossConfig(
            surface=(1500.0,), off_surface=(50.0,), eikonal=(50.0,), normals=(50.0,), normals_cosine=True
        ),
    )


def published(dim: int) -> ReconstructConfig:
    """Network, frame, batch and learning rate of the release, for 10,000 steps; the release makes 10,000 epochs."""
    config = small(dim)
    return replace(
        config,
        model=replace(config.model, width=256, depth=4),
        train=replace(
            published_training(config.train),
            steps=10_000,
            lr_network=1e-4,
            lr_final=1.0,
            clip=1.0,
            surface_points=1400,
            offsurface_points=1400,
        ),
        extent=1.0,
        normalization="minmax",
    )
