"""SAL: sign-agnostic learning of a signed distance from unsigned distances to the cloud (Atzmon and Lipman 2020).

Loss: mean | |u(y)| - h(y) |, where h is the distance to the nearest point of the cloud. Points y are points of the
cloud plus normal noise, half of it as wide as the distance to the 50th neighbor, half of it wide. There is no term on
the cloud and none in the gradient, so it needs no normals. The start, a sphere, decides on the sign: a field that
changes it across the cloud is as good as |u|, and easier to learn for a network that starts with a zero set.

The release draws 250,000 points of each kind once, and 16,384 of them in each step. Here they are drawn anew.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldLossConfig, FieldTrainConfig, NetworkConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import published_training


def small(_: int) -> ReconstructConfig:
    """Settings sized for two CPU cores, with softplus instead of rectifiers."""
    return ReconstructConfig(
        method="sal",
        model=NetworkConfig(kind="softplus", width=96, depth=4, radius=0.5),
        loss=FieldLossConfig(surface=(0.0,), sign_agnostic=(1.0,)),
        train=FieldTrainConfig(
            steps=1500,
            lr_network=2e-3,
            surface_points=64,
            offsurface_points=512,
            offsurface_sampling="cloud",
            offsurface_std=0.3,
        ),
    )


def published(dim: int) -> ReconstructConfig:
    """Settings of the release for a single shape: 2,000 epochs of one step, which its loop exceeds by two.

    The release has no surface points; those here only monitor the error.
    """
    config = small(dim)
    return replace(
        config,
        model=NetworkConfig(kind="relu", width=512, depth=8, weight_norm=True, radius=0.5, slope=2.0),
        train=replace(
            published_training(config.train),
            steps=2002,
            lr_network=5e-4,
            lr_final=1.0,
            clip=0.0,
            offsurface_points=16_384,
            offsurface_std=1.0,
        ),
        extent=2.0,
        normalization="mean",
    )
