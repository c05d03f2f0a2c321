"""Settings and schedules that several methods share."""

import math
from dataclasses import replace
from typing import Literal

from latentsdf.config.reconstruction import FieldTrainConfig, NetworkConfig, ReconstructConfig


def sine_preset(method: str, kind: Literal["sine", "quadratic"]) -> ReconstructConfig:
    """Return settings of a small sine network, initialized as a sphere of small slope around the cloud as published.

    Without a guide, fields initialized as a smaller sphere of slope 1 went to 0 and lost their sign, probably because
    u = 0 has a lower loss than any distance while the second-order term is active.
    """
    return ReconstructConfig(
        method=method,
        model=NetworkConfig(kind=kind, width=64, depth=4, start="multifrequency", omega=30.0, radius=1.0, slope=0.1),
        train=FieldTrainConfig(
            steps=3000,
            lr_network=5e-4,
            surface_points=512,
            offsurface_points=512,
            offsurface_sampling="uniform",
        ),
        extent=1.1,
    )


def with_guide(config: ReconstructConfig) -> ReconstructConfig:
    """Add a guide for the first 60 % of the run, starting from a sphere of slope 1.

    With batches of a few hundred points, the losses alone do not determine the signs of several or nested curves. With
    an initial sphere of small slope, the interior of wide shapes has not converged to the guide when its weight falls
    to 0.
    """
    return replace(
        config,
        model=replace(config.model, radius=0.7, slope=1.0),
        loss=replace(config.loss, guide=hold_then_vanish(config.loss.surface[0], 0.6)),
    )


def published_start(model: NetworkConfig, dim: int, radius: float, slope: float) -> NetworkConfig:
    """Set the initialization of the releases of DiGS, StEik and HotSpot in 3D: their matrices and 0.1 (sqrt(y) - 1.6).

    For isometries sqrt(y) would be 1.11 |x|, and the sphere have radius 1.44. In 2D, for which nothing was released,
    the matrices give no closed curve for narrow networks, and isometries replace them.

    Args:
        model: The network.
        dim: Dimension of the points.
        radius: Mean radius of the initial surface of the release in 3D, used in 2D.
        slope: |grad u| on that surface, used in 2D.
    """
    if dim == 2:
        return replace(model, start="multifrequency", radius=radius, slope=slope)
    stretch = math.pi / math.sqrt(8)
    return replace(model, start="mfgi", radius=1.6 / stretch, slope=0.1 * stretch)


def published_training(train: FieldTrainConfig) -> FieldTrainConfig:
    """Set Adam's default decay of second moments and no warm-up, as in all releases."""
    return replace(train, warmup_steps=0, beta2=0.999)


def surface_benchmark_training(train: FieldTrainConfig, lr_network: float) -> FieldTrainConfig:
    """Set the steps, points and constant rate that the releases of DiGS, StEik and Neural-Singular-Hessian share."""
    return replace(
        published_training(train),
        steps=10_000,
        lr_network=lr_network,
        lr_final=1.0,
        surface_points=15_000,
        offsurface_points=15_000,
    )


def hold_then_vanish(weight: float, share: float) -> tuple[float, ...]:
    """Return a schedule that holds a weight for a share of the run, then falls to 0 over the next tenth."""
    return (weight, share, weight, share + 0.1, 0.0, 0.0)


def relaxed(weight: float) -> tuple[float, ...]:
    """Return the schedule of DiGS' and StEik's second-order terms: constant until 20 % of the run, 0 from 40 % on."""
    return (weight, 0.2, weight, 0.4, 0.0, 0.0)


def ramp(first: float, last: float, start: float, end: float) -> tuple[float, ...]:
    """Return a schedule that changes from one weight to another between two shares of the run."""
    return (first, start, first, end, last, last)
