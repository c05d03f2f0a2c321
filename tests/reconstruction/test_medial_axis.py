"""The medial-axis method: phases, sampling of the cloud, and the axis of a square."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import with_train

import latentsdf as ls
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.models.derivatives import hessian, jet
from latentsdf.models.siren import SineNetwork
from latentsdf.reconstruction.medial_axis import MedialAxisTrainer
from latentsdf.reconstruction.plots import draw_phase
from latentsdf.reconstruction.presets import preset
from latentsdf.utils.errors import ConfigError


def _square_points(count: int = 1200) -> np.ndarray:
    """Points of the border of [-1, 1]^2."""
    along = np.random.default_rng(0).uniform(-1, 1, count)
    side = np.resize([-1.0, 1.0], count)
    pairs = np.stack((along, side), axis=1)
    return np.where(np.arange(count)[:, None] < count // 2, pairs, pairs[:, ::-1])


def _short_config() -> ReconstructConfig:
    config = preset("medial_axis", 2)
    model = replace(config.model, width=48, depth=3)
    medial = replace(config.medial, phase_width=24, phase_blocks=2, lr_phase=1e-2, phase_freeze=0.85)
    config = replace(config, model=model, medial=medial)
    return with_train(config, steps=400, lr_network=2e-3, surface_points=256, offsurface_points=512)


@pytest.fixture(scope="module")
def square() -> ls.Reconstruction:
    """Field of a square with center (3, 3) and side 20."""
    return ls.reconstruct(10 * _square_points() + 3, config=_short_config())


def test_bowl_start() -> None:
    """The start `bowl` has the zeros and gradients of a sphere and a smooth minimum at the origin."""
    torch.manual_seed(0)
    network = SineNetwork(3, 32, 3, start="bowl", radius=0.7)
    directions = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    found = jet(network, torch.cat((0.7 * directions, torch.zeros(1, 3))))
    assert found.distance[:-1].abs().max() < 1e-6
    assert torch.allclose(found.gradient[:-1], directions, atol=1e-5)
    assert torch.allclose(hessian(found), torch.eye(3) / 0.7, atol=1e-5)


@pytest.mark.slow
def test_square_distance_and_diagonals(square: ls.Reconstruction) -> None:
    """The distance to a square is exact, and the phase is low on its diagonals and high elsewhere."""
    probes = np.random.default_rng(1).uniform(-1.1, 1.1, (20_000, 2))
    near, far = np.sort(np.abs(probes), axis=1).T
    exact = np.where(far > 1, np.hypot(np.maximum(near - 1, 0), far - 1), far - 1)
    assert np.abs(square.distance(10 * probes + 3) / 10 - exact).mean() < 0.02
    inside = (far < 0.8) & (far > 0.2)
    found, off_axis = square.phase(10 * probes + 3), (far - near) / 2**0.5
    assert found[inside & (off_axis < 0.01)].mean() < 0.3
    assert found[(off_axis > 0.15)].mean() > 0.8
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 3])
def test_phase_sequence(dim: int) -> None:
    """The phase field is trained only between `phase_start` and `phase_freeze`, with the terms of each phase."""
    cloud = prepare_point_cloud(np.random.default_rng(0).normal(size=(300, dim)))
    config = replace(_short_config(), medial=replace(_short_config().medial, phase_start=0.25, phase_freeze=0.5))
    trainer = MedialAxisTrainer(cloud, with_train(config, steps=8), torch.device("cpu"))
    start = trainer.phase.last.bias.item()
    terms = [set(trainer.train_step()) for _ in range(2)]
    assert trainer.phase.last.bias.item() == start
    terms += [set(trainer.train_step()) for _ in range(2)]
    joint = trainer.phase.last.bias.item()
    assert joint != start
    terms += [set(trainer.train_step()) for _ in range(4)]
    assert trainer.phase.last.bias.item() == joint
    always = {"surface", "eikonal", "expansion", "second_order"}
    assert [found - always for found in terms] == 2 * [set()] + 2 * [{"phase"}] + 4 * [{"second_order_on"}]


def test_dense_points_of_cloud() -> None:
    """Points in dense parts of a cloud are drawn less often."""
    cluster = np.array([1, 0]) + np.random.default_rng(0).normal(0, 0.01, (1200, 2))
    points = np.concatenate((_square_points(), cluster))
    trainer = MedialAxisTrainer(prepare_point_cloud(points), _short_config(), torch.device("cpu"))
    drawn = torch.cat([trainer.sampler.draw().surface for _ in range(20)])
    corner = torch.tensor([1.0, 0.0]) * drawn[:, 0].max()
    assert ((drawn - corner).norm(dim=1) < 0.1).float().mean() < 0.2  # half of the points are there


@pytest.mark.slow
def test_saved_phase_field(square: ls.Reconstruction, tmp_path: Path) -> None:
    """A saved field keeps its phase; without a phase field `phase` raises."""
    square.save(tmp_path / "field")
    loaded = ls.load_field(tmp_path / "field")
    probes = 10 * _square_points(100)
    assert np.array_equal(loaded.phase(probes), square.phase(probes))
    assert np.array_equal(loaded.distance(probes), square.distance(probes))
    image = np.asarray(draw_phase(loaded, size=64))
    assert image.shape == (64, 64) and image[32, 32] < 100 < 200 < image[32, 2]
    with pytest.raises(ConfigError, match="has no phase field"):
        replace(square, phase_field=None).phase(probes)
