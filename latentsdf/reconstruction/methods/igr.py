"""IGR: implicit geometric regularization (Gropp et al. 2020, Eqs. 2 and 3).

Loss: mean |u| + mean |grad u - n| + 0.1 mean (|grad u| - 1)^2, the last at points off the cloud as in the release,
where the paper has an integral over space.

The release does not normalize clouds and draws its uniform points in the box of +-1.8 of their own unit. Here they are
in model space.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldLossConfig, FieldTrainConfig, NetworkConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import published_training


def small(_: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    return ReconstructConfig(
        method="igr",
        model=NetworkConfig(kind="softplus", width=96, depth=4, radius=0.5),
        loss=FieldLossConfig(
            surface=(1.0,), eikonal=(0.1,), eikonal_norm="l2", eikonal_points="offsurface", normals=(1.0,)
        ),
        train=FieldTrainConfig(
            steps=4000, lr_network=2e-3, surface_points=512, offsurface_points=512, offsurface_sampling="local"
        ),
    )


def published(dim: int) -> ReconstructConfig:
    """Settings of the release for a single shape: 16,384 local and 2,048 uniform off-surface points per step."""
    config = small(dim)
    return replace(
        config,
        model=NetworkConfig(kind="softplus", width=512, depth=8, skip=5, radius=1.0),
        train=replace(
            published_training(config.train),
            steps=100_000,
            lr_network=5e-3,
            halve_steps=2000,
            clip=0.0,
            surface_points=16_384,
            offsurface_points=18_432,
            offsurface_share=8 / 9,
        ),
        extent=1.8,
    )
