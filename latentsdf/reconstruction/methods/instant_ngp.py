"""Instant-NGP: a multiresolution hash grid fitted to signed distances (Müller et al. 2022).

Loss: mean |u - d| / (|d| + 0.01), half of the points on the cloud, where d = 0, the others with the signed distance d
to the oriented cloud (`guide`). Instant-NGP computes d from a mesh. The small settings add 0.1 times the deviation of
|grad u| from 1, which the paper does not have.

Differences of the published settings from the release: points off the surface are those of the guide, in a broader
distribution; the frame is model space, in the box [-1, 1]^d; no moving average of the weights, no penalty on those of
the network and no decay of the rates, which begins after the 10,000 steps that are made here; a smooth network, which
also reads the point.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldLossConfig, FieldTrainConfig, NetworkConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import published_training

_LOSS = FieldLossConfig(surface=(50.0,), guide=(0.5,), guide_relative=True)
"""With a half of the points each, the mean over all points is 0.5 mean |u| / 0.01 + 0.5 times the relative error."""
_BATCH = 2**18


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    points = 2048 if dim == 3 else 1024
    return ReconstructConfig(
        method="instant_ngp",
        model=NetworkConfig(
            kind="hash_grid",
            width=32,
            depth=2,
            channels=4,
            levels=6,
            base_resolution=8,
            finest_resolution=256,
            table_bits=15,
        ),
        loss=replace(_LOSS, eikonal=(0.1,)),
        train=FieldTrainConfig(
            steps=800, lr_network=3e-3, lr_grid=1e-2, surface_points=points, offsurface_points=points
        ),
        denoise=True,
    )


def published(dim: int) -> ReconstructConfig:
    """Network, loss, batch and rates of the release (`configs/sdf/base.json`)."""
    config = small(dim)
    return replace(
        config,
        model=NetworkConfig(
            kind="hash_grid",
            width=64,
            depth=2,
            channels=2,
            levels=16,
            base_resolution=16,
            finest_resolution=2048,
            table_bits=19,
        ),
        loss=_LOSS,
        train=replace(
            published_training(config.train),
            steps=10_000,
            lr_network=1e-4,
            lr_grid=1e-4,
            lr_final=1.0,
            grid_moments="value",
            beta2=0.99,
            clip=0.0,
            surface_points=_BATCH // 2,
            offsurface_points=2,
        ),
        denoise=False,
        extent=1.0,
    )
