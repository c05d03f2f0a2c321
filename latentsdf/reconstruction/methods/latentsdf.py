"""The default method: a feature pyramid fitted to the cloud and to the signed distance to the oriented cloud.

Loss: 10 mean |u| + 0.1 eikonal (L1) + 0.1 |grad u - n| + w_h E_heat + w_g mean |u - d|, where d is the signed distance
to the oriented cloud (`guide`) and E_heat is HotSpot's screened-Poisson energy. Normals are estimated if the cloud has
none.
"""

from latentsdf.config.reconstruction import FieldLossConfig, FieldTrainConfig, NetworkConfig, ReconstructConfig


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    points = 2048 if dim == 3 else 1024
    return ReconstructConfig(
        method="latentsdf",
        model=NetworkConfig(
            kind="pyramid",
            width=32,
            depth=2,
            resolutions=(8, 16, 32, 64, 128) if dim == 3 else (8, 16, 32, 64, 128, 256),
            channels=4,
        ),
        loss=FieldLossConfig(
            surface=(10.0,),
            eikonal=(0.1,),
            normals=(0.1,),
            heat=(0.02, 0.5, 0.02, 0.0),
            heat_lambda=(30.0,),
            guide=(10.0, 0.5, 10.0, 3.0),
        ),
        train=FieldTrainConfig(
            steps=600 if dim == 3 else 1000,
            lr_network=3e-3,
            lr_grid=1e-2,
            surface_points=points,
            offsurface_points=points,
        ),
        denoise=True,
    )
