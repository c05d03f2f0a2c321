"""Settings of medial-axis-aware learning of signed distances.

`reconstruction.medial_axis` states the loss. Differences from the paper: no full Hessian in the second-order term, as
in the release, and a network that is initialized as

    (|x|^2 - r^2) / (2 r)

The published settings have the quadratic layers of the paper, where the release adds x^T A(x) x to a sine network, and
the residual blocks of the phase network of the release. The small ones have linear layers and one layer in each block.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import (
    FieldTrainConfig,
    MedialConfig,
    NetworkConfig,
    ReconstructConfig,
)
from latentsdf.reconstruction.methods.preset_settings import ramp

_PHASE_START, _PHASE_FREEZE = 1 / 6, 2 / 3
"""Published phases: 5, 15 and 10 epochs of 500 steps."""


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    return ReconstructConfig(
        method="medial_axis",
        model=NetworkConfig(kind="sine", width=64, depth=4, start="bowl", radius=0.9, omega=10.0),
        medial=MedialConfig(cell_levels=2 if dim == 2 else 1),
        train=FieldTrainConfig(steps=1500, lr_network=5e-4, clip=100.0, surface_points=512, offsurface_points=1024),
    )


def published(dim: int) -> ReconstructConfig:
    """Settings of the paper. Its maximum gradient norm of 75 applies to the loss times 0.01."""
    config = small(dim)
    if dim == 2:
        model = replace(config.model, kind="quadratic", width=256, depth=4, radius=1.0, omega=10.0)
        medial = MedialConfig(
            axis_width=1e-3,
            phase_width=64,
            phase_blocks=4,
            phase_omega=25.0,
            phase_kind="preactivated",
            phase_gain=1.0,
            lr_phase=5e-4,
            second_order=(10.0,),
            phase=(0.2,),
            surface=(10.0,),
            eikonal=(0.1,),
            expansion=_change(100.0, 1.0),
        )
    else:
        model = replace(config.model, kind="quadratic", width=256, depth=8, radius=1.0, omega=25.0)
        medial = MedialConfig(
            axis_width=1e-4,
            phase_width=128,
            phase_blocks=6,
            phase_omega=5.0,
            phase_kind="preactivated",
            phase_gain=0.5,
            lr_phase=5e-4,
            second_order=_change(1.0, 2.5),
            phase=_change(0.02, 0.2),
            surface=_change(0.01, 0.5),
            eikonal=_change(0.05, 0.2),
            expansion=_change(500.0, 200.0),
        )
    return replace(
        config,
        model=model,
        medial=replace(medial, phase_start=_PHASE_START, phase_freeze=_PHASE_FREEZE, cell_levels=1),
        train=replace(
            config.train,
            steps=15_000,
            lr_network=5e-5,
            warmup_steps=0,
            beta2=0.98,
            clip=7500.0,
            surface_points=5000,
            offsurface_points=20_000,
        ),
        extent=1.2,
    )


def _change(first: float, last: float) -> tuple[float, ...]:
    return ramp(first, last, _PHASE_START, _PHASE_FREEZE)
