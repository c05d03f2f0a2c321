"""Named configurations of the reconstruction methods."""

import math

import numpy as np
import pytest
from helpers.points import circle_points
from helpers.settings import with_train

import latentsdf as ls
from latentsdf.reconstruction.presets import METHOD_NAMES, preset
from latentsdf.utils.errors import ConfigError

_PUBLISHED = [name for name in METHOD_NAMES if name not in ("latentsdf", "heat_medial", "signed_heat", "poisson")]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_presets_of_both_sizes(method: str, dim: int) -> None:
    """Every method has a preset with its name, and all that were published with settings have published ones."""
    assert preset(method, dim).method == method
    if method in _PUBLISHED:
        published = preset(method, dim, paper=True)
        assert published.method == method and published.train.steps >= (2000 if method == "sal" else 10_000)
        assert published.train.warmup_steps == 0


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("method", _PUBLISHED)
def test_step_of_published_preset(method: str, dim: int) -> None:
    """Every published preset makes a step of finite terms in its own frame, here with few points."""
    points = circle_points(300, 3.0) if dim == 2 else np.random.default_rng(0).normal(size=(300, 3))
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    config = with_train(preset(method, dim, paper=True), steps=1, surface_points=64, offsurface_points=64)
    result = ls.reconstruct(3 * normals + 7, normals, config=config)
    assert all(math.isfinite(value) for value in result.history[-1].values())
    assert np.isfinite(result.distance(np.full((1, dim), 7.0))).all()


def test_unknown_method() -> None:
    """Unknown names are rejected, and so are published settings of methods without them."""
    with pytest.raises(ConfigError, match="method must be one of"):
        preset("ball_pivoting", 3)
    with pytest.raises(ConfigError, match="no published settings"):
        preset("latentsdf", 3, paper=True)
