"""The medial-axis method: cells that fill the box, a start without a kink, three phases, the axis of a square."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import latentsdf as ls
from latentsdf.cli.main import main
from latentsdf.config.reconstruction import MedialConfig, NetworkConfig, ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.models.siren import SineNetwork
from latentsdf.reconstruction.adaptive_cells import Cells
from latentsdf.reconstruction.medial_axis import MedialFit
from latentsdf.reconstruction.plots import phase
from latentsdf.reconstruction.presets import preset
from latentsdf.training.losses import hessian, jet
from latentsdf.utils.errors import ConfigError


def _square(count: int = 1200) -> np.ndarray:
    """Points of the border of [-1, 1]^2."""
    along = np.random.default_rng(0).uniform(-1, 1, count)
    side = np.resize([-1.0, 1.0], count)
    pairs = np.stack((along, side), axis=1)
    return np.where(np.arange(count)[:, None] < count // 2, pairs, pairs[:, ::-1])


def _short(**changes: object) -> ReconstructConfig:
    config = preset("medial_axis", 2)
    network = replace(config.network, width=48, depth=3)
    medial = replace(config.medial, phase_width=24, phase_blocks=2, lr_phase=1e-2, last_phase=0.85)
    config = replace(config, network=network, medial=medial, steps=400, lr=2e-3, surface_points=256, off_points=512)
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def square() -> ls.Reconstruction:
    return ls.reconstruct(10 * _square() + 3, config=_short())


@pytest.mark.parametrize("dim", [2, 3])
def test_cells_are_fine_where_wanted_and_weigh_what_they_cover(dim: int) -> None:
    cells = Cells(dim, 1.1)
    cells.split(lambda points, level: points[:, 0].abs() < 0.2 / level, levels=2)
    assert (cells.edge**dim).sum().item() == pytest.approx(2.2**dim, rel=1e-5)
    base = 2.2 / 16
    assert set((base / cells.edge).round().int().tolist()) == {1, 2, 4}
    assert (cells.edge[(cells.lower[:, 0].abs() < 1e-3)] < 0.3 * base).all()
    assert (cells.edge[cells.lower[:, 0] > 0.3] > 0.9 * base).all()
    points, weights = cells.draw(100_000, torch.Generator().manual_seed(0))
    assert points.abs().max() <= 1.1
    for low, high in ((-1.1, 1.1), (-0.15, 0.02), (0.3, 0.9)):
        held = ((points > low) & (points < high)).all(1)
        assert weights[held].sum().item() == pytest.approx((high - low) ** dim, rel=0.08)
    # Half of the points lie in the finest cells, which cover far less.
    assert (points[:, 0].abs() < 0.15).float().mean() > 0.3


def test_a_bowl_starts_with_a_spheres_zeros_and_no_kink() -> None:
    torch.manual_seed(0)
    network = SineNetwork(3, 32, 3, start="bowl", radius=0.7)
    directions = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    found = jet(network, torch.cat((0.7 * directions, torch.zeros(1, 3))))
    assert found.distance[:-1].abs().max() < 1e-6
    assert torch.allclose(found.gradient[:-1], directions, atol=1e-5)
    assert torch.allclose(hessian(found), torch.eye(3) / 0.7, atol=1e-5)


def test_a_square_and_its_diagonals(square: ls.Reconstruction) -> None:
    probes = np.random.default_rng(1).uniform(-1.1, 1.1, (20_000, 2))
    near, far = np.sort(np.abs(probes), axis=1).T
    exact = np.where(far > 1, np.hypot(np.maximum(near - 1, 0), far - 1), far - 1)
    assert np.abs(square.distance(10 * probes + 3) / 10 - exact).mean() < 0.02
    inside = (far < 0.8) & (far > 0.2)
    found, off_axis = square.phase(10 * probes + 3), (far - near) / 2**0.5
    assert found[inside & (off_axis < 0.01)].mean() < 0.3
    assert found[(off_axis > 0.15)].mean() > 0.8
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("dim", [2, 3])
def test_the_phases_follow_each_other(dim: int) -> None:
    cloud = prepare_point_cloud(np.random.default_rng(0).normal(size=(300, dim)))
    changes = {"medial": replace(_short().medial, first_phase=0.25, last_phase=0.5), "steps": 8}
    fit = MedialFit(cloud, _short(**changes), torch.device("cpu"))
    start = fit.phase.last.bias.item()
    terms = [set(fit.train_step()) for _ in range(2)]
    assert fit.phase.last.bias.item() == start
    terms += [set(fit.train_step()) for _ in range(2)]
    joint = fit.phase.last.bias.item()
    assert joint != start
    terms += [set(fit.train_step()) for _ in range(4)]
    assert fit.phase.last.bias.item() == joint
    always = {"surface", "eikonal", "expansion", "second_order"}
    assert [found - always for found in terms] == 2 * [set()] + 2 * [{"phase"}] + 4 * [{"second_order_on"}]


def test_crowded_points_of_the_cloud_are_drawn_less_often() -> None:
    crowd = np.array([1, 0]) + np.random.default_rng(0).normal(0, 0.01, (1200, 2))
    crowded = np.concatenate((_square(), crowd))
    fit = MedialFit(prepare_point_cloud(crowded), _short(), torch.device("cpu"))
    drawn = torch.cat([fit.sampler.draw().surface for _ in range(20)])
    corner = torch.tensor([1.0, 0.0]) * drawn[:, 0].max()
    assert ((drawn - corner).norm(dim=1) < 0.1).float().mean() < 0.2  # half of the points are there


def test_a_folder_keeps_the_phase_and_other_methods_have_none(square: ls.Reconstruction, tmp_path: Path) -> None:
    square.save(tmp_path / "field")
    kept = ls.load_field(tmp_path / "field")
    probes = 10 * _square(100)
    assert np.array_equal(kept.phase(probes), square.phase(probes))
    assert np.array_equal(kept.distance(probes), square.distance(probes))
    drawn = np.asarray(phase(kept, size=64))
    assert drawn.shape == (64, 64) and drawn[32, 32] < 100 < 200 < drawn[32, 2]
    bare = replace(square, phase_field=None)
    with pytest.raises(ConfigError, match="learns no phase field"):
        bare.phase(probes)


def test_the_command_draws_the_phase(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "points.csv", _square(300), delimiter=",")
    words = ["reconstruct", str(tmp_path / "points.csv"), "--method", "medial_axis", "--out", str(tmp_path / "out")]
    assert main([*words, "--steps", "10", "--network.width", "16", "--resolution", "32"]) == 0
    assert {"phase.png", "slice.png", "contours.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": NetworkConfig(kind="pyramid")}, "no pure second derivatives"),
        ({"medial": MedialConfig(first_phase=0.8, last_phase=0.5)}, r"must rise within \[0, 1\], got 0.8 and 0.5"),
        ({"medial": MedialConfig(width=0.0)}, "width must be above 0"),
        ({"medial": MedialConfig(eikonal=(1.0, 0.9, 2.0, 0.1, 3.0, 4.0))}, "times rising"),
    ],
)
def test_unusable_settings_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ls.reconstruct(_square(), config=_short(**change))
