"""Settings of HeatSDF, which `reconstruction.heat_sdf` states (Weidemaier et al. 2025, arXiv 2504.11212).

Differences from the release:

- The release aligns gradients with the far time step in the wrong direction and leaves this step out in its default
  run, and so do the published settings.
- It starts from a network that was trained on the unit sphere. Here, the start is (|x|^2 - 1) / 2 plus a SIREN whose
  output is 0.
- It lowers its rate of 1e-5 by a tenth each time the loss on new points has not fallen for three epochs. Here, the rate
  falls to a hundredth by a half cosine, in each of the two steps.
- Its terms on the cloud use all points in each step, here as many are drawn, in the second step as well in proportion
  to the weights of the first.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import FieldTrainConfig, HeatConfig, NetworkConfig, ReconstructConfig
from latentsdf.reconstruction.methods.preset_settings import published_training

_HEAT_STEPS, _DISTANCE_STEPS = 50 * 500, 50 * 1000


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores, with a far time step; in 2D the sides follow from the oriented cloud."""
    return ReconstructConfig(
        method="heat_sdf",
        model=NetworkConfig(kind="sine", width=64, depth=4, start="bowl", radius=0.9, omega=15.0),
        heat_sdf=HeatConfig(sides_from="orientation" if dim == 2 else "flood_fill"),
        train=FieldTrainConfig(
            steps=2500,
            lr_network=5e-4,
            surface_points=512,
            offsurface_points=1024,
            offsurface_sampling="uniform",
        ),
        extent=1.2,
    )


def published(dim: int) -> ReconstructConfig:
    """Settings of the release."""
    config = small(dim)
    return replace(
        config,
        model=replace(config.model, width=256, depth=5, radius=1.0, omega=30.0),
        heat_sdf=HeatConfig(
            near_time=0.005,
            far_time=0.0,
            share=_HEAT_STEPS / (_HEAT_STEPS + _DISTANCE_STEPS),
            surface=(100.0,),
            alignment=(1.0,),
            sides=(1.0,),
            alignment_width=0.005,
            side_width=5e-4,
            side_points=500,
            cells=64,
            sides_from="flood_fill",
        ),
        train=replace(
            published_training(config.train),
            steps=_HEAT_STEPS + _DISTANCE_STEPS,
            lr_network=1e-5,
            lr_final=0.01,
            clip=2.0,
            surface_points=5000,
            offsurface_points=5000,
        ),
        normalization="minmax",
    )
