"""Settings of 1-Lipschitz networks, and the guarantee of fitted fields."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.points import circle_points, sphere_points
from helpers.presets import network_size
from helpers.settings import short_preset
from scipy.spatial import cKDTree

import latentsdf as ls
from latentsdf.config.schedules import is_used, schedule_value
from latentsdf.models.derivatives import jet
from latentsdf.reconstruction.methods import lipschitz
from latentsdf.reconstruction.result import Reconstruction


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_training(dim: int) -> None:
    """200 epochs of 200 points on each side; lambda is 1, from epoch 5 on 10 and from epoch 10 on 100."""
    config = lipschitz.published(dim)
    loss, train = config.loss, config.train
    epochs = {1: 1, 3: 1, 4: 1, 5: 10, 7: 10, 9: 10, 10: 100, 30: 100, 200: 100}
    middle = {epoch: schedule_value(loss.hkr_lambda, (epoch - 0.5) / 200) for epoch in epochs}
    assert middle == pytest.approx(epochs)
    assert not is_used(loss.eikonal) and not is_used(loss.normals) and not is_used(loss.guide)
    per_epoch = (10_000 if dim == 2 else 100_000) // 200
    assert (train.steps, train.surface_points) == (200 * per_epoch, 2 * 200)
    assert (train.lr_network, train.lr_final, train.beta2, train.clip) == (5e-4, 1.0, 0.999, 0.0)
    assert train.lr_matrices == 0 and not is_used(loss.surface)
    assert loss.hkr_margin == pytest.approx(0.01 * 1.6)
    assert config.extent == pytest.approx((0.5 + 0.5 if dim == 2 else 0.5 + 1.0) * 1.6)


def test_published_network() -> None:
    """20 layers with a square matrix of 128 rows, a bias and a scale each, and an output with a bias."""
    assert network_size(lipschitz.published(3), 3) == 20 * (128 * 128 + 2 * 128) + 128 + 1


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request: pytest.FixtureRequest) -> Reconstruction:
    """A circle or sphere of radius 3 around (5, 5, 5), after a short fit."""
    dim = request.param
    points = circle_points(500, 3.0) if dim == 2 else sphere_points(1000, 3.0)
    return ls.reconstruct(points + 5, config=short_preset("lipschitz", dim, steps=150))


@pytest.mark.slow
def test_fitted_field_never_overestimates(fitted: Reconstruction) -> None:
    """In the user's frame, |u(x) - u(y)| <= |x - y|, and |u| is at most the distance to the zero level set."""
    rng, dim = np.random.default_rng(0), fitted.dim
    x = 5 + 8 * rng.normal(size=(5000, dim))
    for scale in (5.0, 0.1):
        y = x + scale * rng.normal(size=x.shape)
        rise = np.abs(fitted.distance(x).astype(float) - fitted.distance(y))
        assert (rise <= np.linalg.norm(x - y, axis=1) + 1e-4).all()
    # Points of the zero level set are exact up to the cells that it was extracted in.
    zeros = np.concatenate(fitted.contours(512)) if dim == 2 else np.asarray(fitted.mesh(64).vertices)
    assert (np.abs(fitted.distance(x)) <= cKDTree(zeros).query(x)[0] + 0.01).all()


@pytest.mark.slow
def test_fitted_slope(fitted: Reconstruction) -> None:
    """In float64, the slope of the network is at most 1; the sides are right where the surface is not close."""
    network = fitted.network.double()
    points = 3 * torch.rand(5000, fitted.dim, dtype=torch.float64) - 1.5
    assert jet(network, points).gradient.norm(dim=1).max() <= 1 + 1e-5
    network.float()
    probes = 5 + np.random.default_rng(0).uniform(-3, 3, (2000, fitted.dim))
    exact = np.linalg.norm(probes - 5, axis=1) - 3
    assert ((fitted.distance(probes) < 0) == (exact < 0))[np.abs(exact) > 0.4].all()


@pytest.mark.slow
def test_full_steps_never_pass_the_surface(fitted: Reconstruction) -> None:
    """Sphere tracing by steps of the full length stays outside and ends on the surface."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(100, fitted.dim))
    points = 5 + 9 * points / np.linalg.norm(points, axis=1, keepdims=True)
    direction = (5 - points) / 9
    for _ in range(200):
        step = fitted.distance(points)
        assert (step > -1e-5).all()
        points = points + step[:, None] * direction
    assert np.abs(np.linalg.norm(points - 5, axis=1) - 3).max() < 0.3


@pytest.mark.slow
def test_saved_lipschitz_field(fitted: Reconstruction, tmp_path: Path) -> None:
    """A loaded field has the same distances."""
    fitted.save(tmp_path / "field")
    probes = np.random.default_rng(0).uniform(-20, 20, (200, fitted.dim))
    np.testing.assert_array_equal(ls.load_field(tmp_path / "field").distance(probes), fitted.distance(probes))
