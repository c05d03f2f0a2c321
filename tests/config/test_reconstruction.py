"""Settings of a reconstruction: ranges and rules between settings."""

import math
from collections.abc import Callable

import pytest

from latentsdf.config.reconstruction import (
    FieldLossConfig,
    FieldTrainConfig,
    MedialConfig,
    NetworkConfig,
    ReconstructConfig,
)
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FieldTrainConfig(steps=0), "steps must be at least 1"),
        (lambda: ReconstructConfig(extent=0.5), "extent must be at least 1"),
        (lambda: NetworkConfig(kind="pyramid", resolutions=()), "resolutions must list the cells per axis"),
        (lambda: NetworkConfig(kind="pyramid", resolutions=(8, 0)), r"resolutions.* must be at least 1, got 0"),
        (lambda: NetworkConfig(kind="sine", start="spread"), "spread is for softplus"),
        (lambda: FieldTrainConfig(lr_network=-1.0), r"lr_network must be at least 0.*, got -1\.0"),
        (lambda: FieldTrainConfig(lr_network=math.nan), "lr_network must be a finite number, got nan"),
        (lambda: FieldTrainConfig(lr_final=2.0), "lr_final must be at most 1.*, got 2"),
        (lambda: FieldTrainConfig(offsurface_std=0.0), "offsurface_std must be above 0"),
        (lambda: FieldTrainConfig(beta2=1.0), "beta2 must be below 1"),
        (lambda: FieldLossConfig(eikonal=(0.1, 0.5, -0.1, 0.1)), r"eikonal.* must be at least 0.*, got -0\.1"),
        (lambda: FieldLossConfig(heat=(1.0, 0.9, 2.0, 0.1, 3.0, 4.0)), "non-decreasing times"),
        (lambda: NetworkConfig(width=1), "width must be at least"),
        (lambda: MedialConfig(axis_width=0.0), "axis_width must be above 0"),
        (lambda: MedialConfig(eikonal=(1.0, 0.9, 2.0, 0.1, 3.0, 4.0)), "non-decreasing times"),
        (
            lambda: MedialConfig(phase_start=0.8, phase_freeze=0.5),
            r"phase_start must not be above medial\.phase_freeze, got 0\.8 and 0\.5",
        ),
        (
            lambda: ReconstructConfig(
                train=FieldTrainConfig(offsurface_sampling="local"), loss=FieldLossConfig(heat=(1.0,))
            ),
            r"loss\.heat .* train\.offsurface_sampling must be gaussian or uniform, got local",
        ),
        (
            lambda: ReconstructConfig(
                model=NetworkConfig(kind="pyramid"), loss=FieldLossConfig(directional_divergence=(1.0,))
            ),
            r"no pure second derivatives; leave out loss\.directional_divergence",
        ),
        (
            lambda: ReconstructConfig(method="medial_axis", model=NetworkConfig(kind="pyramid")),
            "no pure second derivatives; medial_axis needs",
        ),
        (
            lambda: ReconstructConfig(model=NetworkConfig(kind="pyramid"), normalization="mean"),
            "a pyramid is fitted in model space: normalization sphere, got mean",
        ),
        (
            lambda: NetworkConfig(kind="hash_grid", base_resolution=32, finest_resolution=16),
            r"finest_resolution must not be below model\.base_resolution, got 16 and 32",
        ),
        (
            lambda: ReconstructConfig(
                model=NetworkConfig(kind="hash_grid"), loss=FieldLossConfig(laplacian=(1.0,), singular_hessian=(1.0,))
            ),
            r"a hash grid has no pure second derivatives; leave out loss\.laplacian and loss\.singular_hessian",
        ),
        (
            lambda: ReconstructConfig(model=NetworkConfig(kind="hash_grid"), normalization="mean"),
            "a hash grid is fitted in model space: normalization sphere, got mean",
        ),
        (
            lambda: ReconstructConfig(method="medial_axis", model=NetworkConfig(kind="lipschitz")),
            "a 1-Lipschitz network has no pure second derivatives; medial_axis needs",
        ),
        (
            lambda: ReconstructConfig(loss=FieldLossConfig(hkr=(0.0, 1.0))),
            r"loss\.hkr needs model\.kind lipschitz, a 1-Lipschitz network, got softplus",
        ),
        (
            lambda: ReconstructConfig(method="lipschitz", model=NetworkConfig(kind="sine")),
            r"the method lipschitz needs model\.kind lipschitz, a 1-Lipschitz network, got sine",
        ),
        (lambda: FieldLossConfig(hkr_lambda=(1.0, 0.0)), "hkr_lambda must be above 0"),
        (
            lambda: ReconstructConfig(method="medial_axis", normalization="minmax"),
            "medial_axis is fitted in model space: normalization sphere, got minmax",
        ),
        (lambda: NetworkConfig(kind="quadratic", start="hotspot"), "hotspot is for softplus"),
        (lambda: ReconstructConfig(model={"widht": 3}), r"unknown key 'model\.widht'"),  # type: ignore[arg-type]
    ],
)
def test_invalid_settings(build: Callable[[], object], message: str) -> None:
    """Values out of range and settings that exclude each other are refused by name."""
    with pytest.raises(ConfigError, match=message):
        build()


def test_nested_values() -> None:
    """Sections may be dictionaries, schedules lists or one number."""
    config = ReconstructConfig(
        model={"width": 8},  # type: ignore[arg-type]
        loss={"heat": [1, 0.5, 2, 0], "surface": 3},  # type: ignore[arg-type]
    )
    assert config.model == NetworkConfig(width=8)
    assert config.loss == FieldLossConfig(heat=(1.0, 0.5, 2.0, 0.0), surface=(3.0,))
