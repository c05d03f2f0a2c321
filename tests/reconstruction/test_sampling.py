"""Training points on and off a cloud."""

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.settings import short_preset, with_train

from latentsdf.config.reconstruction import OffsurfaceSampling
from latentsdf.data.importance_sampling import UniformGaussianMixture
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.sampling import CloudSampler

_RADIUS = 1 / 1.03  # of a circle in model space


@pytest.mark.parametrize(("sampling", "near"), [("uniform", 0.1), ("gaussian", 0.01), ("local", 0.4)])
def test_offsurface_distribution(sampling: OffsurfaceSampling, near: float) -> None:
    """Off-surface points are uniform, around the origin, or close to the cloud."""
    points = circle_points(1000, 0.5) + np.array([[0.4, 0.0]])
    config = with_train(
        short_preset("siren"),
        offsurface_sampling=sampling,
        offsurface_share=0.9,
        offsurface_points=4000,
        offsurface_std=0.2,
    )
    offsurface = CloudSampler(prepare_point_cloud(points), config, torch.device("cpu")).draw().offsurface
    distance = (offsurface.norm(dim=1) - _RADIUS).abs()
    assert len(offsurface) == 4000 and (distance < 0.1).float().mean() > near
    central = (offsurface.norm(dim=1) < 0.3).float().mean()
    assert (central > 0.5) == (sampling == "gaussian")


def test_two_widths_around_cloud() -> None:
    """With `cloud`, half of the points are displaced by the distance to a neighbor, half by the wide deviation."""
    config = with_train(
        short_preset("sal"),
        offsurface_sampling="cloud",
        offsurface_share=0.5,
        offsurface_points=8000,
        offsurface_std=3.0,
    )
    sampler = CloudSampler(prepare_point_cloud(circle_points(1000, 0.5)), config, torch.device("cpu"))
    wide, local = sampler.draw().offsurface.split(4000)
    # Squared coordinates: half that of the circle plus the variance of the noise.
    assert wide.square().mean().item() == pytest.approx(_RADIUS**2 / 2 + 9, rel=0.06)
    # The 50th of 1,000 points on a circle is 25 spacings away.
    spread = (local.norm(dim=1) - _RADIUS).std().item()
    assert spread == pytest.approx(25 * 2 * np.pi * _RADIUS / 1000, rel=0.15)


def test_nearest_point_of_cloud() -> None:
    """Distances and directions at points inside and outside a circle equal their closed forms."""
    sampler = CloudSampler(prepare_point_cloud(circle_points(20_000, 0.5)), short_preset("siren"), torch.device("cpu"))
    distance, away = sampler.nearest(torch.tensor([[0.5, 0.0], [0.0, -1.5]]))
    torch.testing.assert_close(distance, torch.tensor([_RADIUS - 0.5, 1.5 - _RADIUS]), atol=1e-3, rtol=0)
    torch.testing.assert_close(away, torch.tensor([[-1.0, 0.0], [0.0, -1.0]]), atol=2e-3, rtol=0)


@pytest.mark.slow
def test_guide_of_circle() -> None:
    """The guide of a circle is its signed distance; unguided batches have no guide points."""
    sampler = CloudSampler(prepare_point_cloud(circle_points(2000, 0.5)), short_preset("hotspot"), torch.device("cpu"))
    batch = sampler.draw()
    exact = batch.guide.norm(dim=1) - _RADIUS
    assert len(batch.guide) == 256 and (batch.guide_distance - exact).abs().max() < 0.01
    assert len(sampler.draw(guided=False).guide) == 0


def test_reproducible_draws() -> None:
    """Two samplers with the same seed draw the same batches."""
    cloud, config = prepare_point_cloud(circle_points(500, 0.5)), short_preset("igr")
    first, second = (CloudSampler(cloud, config, torch.device("cpu")) for _ in range(2))
    for _ in range(3):
        a, b = first.draw(), second.draw()
        assert torch.equal(a.surface, b.surface) and torch.equal(a.offsurface, b.offsurface)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_mixture_density(dim: int, share: float) -> None:
    """The mean of 1 / density over the points of a set is its volume."""
    mixture = UniformGaussianMixture(dim, 1.1, 0.5, share)
    points = mixture.draw(200_000, torch.Generator().manual_seed(0))
    for low, high in ((-0.3, 0.4), (0.5, 1.1), (-1.1, 1.1)):
        held = ((points > low) & (points < high)).all(1)
        volume = (held / mixture.density(points)).mean().item()
        assert volume == pytest.approx((high - low) ** dim, rel=0.06)
    assert points.abs().max() <= 1.1
