"""Settings of Instant-NGP."""

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.presets import network_size
from helpers.settings import short_preset

import latentsdf as ls
from latentsdf.config.schedules import is_used
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.methods import instant_ngp
from latentsdf.reconstruction.objective import weighted_terms
from latentsdf.reconstruction.sampling import CloudSampler
from latentsdf.training.losses.data import relative_term


@pytest.mark.parametrize("dim", [2, 3])
def test_published_loss_and_training(dim: int) -> None:
    """Steps of 2^18 points, half of them on the cloud, with Adam of single features; no other term than the error."""
    config = instant_ngp.published(dim)
    loss, train = config.loss, config.train
    assert loss.guide_relative and not is_used(loss.eikonal) and not is_used(loss.normals)
    assert (train.surface_points, train.lr_network, train.lr_grid) == (2**17, 1e-4, 1e-4)
    assert (train.beta2, train.lr_final, train.clip, train.grid_moments) == (0.99, 1.0, 0.0, "value")


def test_published_network() -> None:
    """16 levels of 16 to 2,048 cells, tables of at most 2^19 rows of 2 features, and 2 hidden layers of 64 units."""
    config = instant_ngp.published(3)
    resolutions = [16, 22, 30, 42, 58, 80, 111, 153, 212, 294, 406, 561, 776, 1072, 1482, 2048]
    features = 2 * sum(min((cells + 1) ** 3, 2**19) for cells in resolutions)
    layers = 65 * 64 + 65 + (3 + 2 * 16 + 1) * 64
    assert network_size(config, 3) == features + layers


class _Shifted(torch.nn.Module):
    """|x| - r."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


@pytest.mark.slow
def test_published_loss_is_mean_over_all_points() -> None:
    """The loss equals the mean of |u - d| / (|d| + 0.01) over the points on the cloud and those off it together."""
    config = instant_ngp.published(2)
    config = ls.ReconstructConfig(model=config.model, loss=config.loss, method=config.method)
    sampler = CloudSampler(prepare_point_cloud(circle_points(500, 0.5)), config, torch.device("cpu"))
    batch, network = sampler.draw(), _Shifted(0.9)
    terms = weighted_terms(network, batch, sampler, config, 0.0)
    assert set(terms) == {"surface", "guide"}
    points, distance = torch.cat((batch.surface, batch.guide)), torch.cat((torch.zeros(512), batch.guide_distance))
    loss = sum(term.weight * term.value.item() for term in terms.values())
    assert loss == pytest.approx(relative_term(network(points), distance).item(), rel=1e-5)


@pytest.mark.slow
def test_annulus() -> None:
    """Two nested circles are fitted with their sides, inside and outside of the ring."""
    points = np.concatenate((circle_points(1000, 2.0), circle_points(500, 1.0)))
    result = ls.reconstruct(points, config=short_preset("instant_ngp", steps=200))
    radii = np.array([0.3, 0.9, 1.1, 1.5, 1.9, 2.1, 2.5])
    found, exact = result.distance(np.stack((radii, 0 * radii), axis=1)), np.maximum(1 - radii, radii - 2)
    assert (np.sign(found) == np.sign(exact)).all()
    near = np.abs(exact) < 0.2  # the relative error hardly weighs points farther away
    assert found[near] == pytest.approx(exact[near], abs=0.06)
    assert "normals" not in result.history[-1]
