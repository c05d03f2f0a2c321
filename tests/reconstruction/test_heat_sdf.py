"""HeatSDF: its two steps, and its combination with the phase field of the medial axis."""

import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.settings import with_train

import latentsdf as ls
from latentsdf.config.reconstruction import NetworkConfig, ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.heat_sdf import HeatMedialTrainer, HeatSDFTrainer
from latentsdf.reconstruction.presets import preset
from latentsdf.utils.errors import ConfigError

_RADIUS = 1 / 1.03  # of a circle in model space


def _short(method: str, steps: int, dim: int = 2) -> ReconstructConfig:
    config = preset(method, dim)
    config = replace(config, model=replace(config.model, width=32, depth=2))
    return with_train(config, steps=steps, lr_network=3e-3, surface_points=128, offsurface_points=256)


@pytest.mark.slow
def test_direction_of_heat_flow() -> None:
    """After the heat step the directions at points off a circle are radial, toward it."""
    trainer = HeatSDFTrainer(prepare_point_cloud(circle_points(1000)), _short("heat_sdf", 500), torch.device("cpu"))
    while trainer.progress() < trainer.config.heat_sdf.share:
        terms = trainer.train_step()
        assert set(terms) == {"heat_near", "heat_far"}
    trainer.train_step()
    angle = torch.linspace(0, 2 * math.pi, 50)
    rays = torch.stack((angle.cos(), angle.sin()), dim=1)
    for radius, sign in ((0.5, 1), (0.8, 1), (1.1, -1)):
        cosine = (trainer.direction(radius * rays) * sign * rays).sum(1)
        assert cosine.mean() > 0.9, radius


@pytest.mark.slow
@pytest.mark.parametrize("method", ["heat_sdf", "heat_medial"])
def test_distance_to_circle(method: str) -> None:
    """Both methods fit the signed distance to a circle, from points alone, in the frame of the points."""
    result = ls.reconstruct(circle_points(1000, 20.0) + 5, config=_short(method, 400))
    rays = circle_points(200, 1.0, seed=1)
    for radius in (12.0, 20.0, 23.0):
        found = result.distance(5 + radius * rays)
        assert np.abs(found - (radius - 20)).mean() < 1.0, radius
    assert {"surface", "alignment", "sides"} < set(result.history[-1])


@pytest.mark.slow
def test_terms_of_each_phase() -> None:
    """The heat networks are trained first and then frozen; v is trained between its start and its freeze."""
    config = _short("heat_medial", 20)
    config = replace(
        config,
        heat_sdf=replace(config.heat_sdf, share=0.2),
        medial=replace(config.medial, phase_start=0.24, phase_freeze=0.49),
    )
    trainer = HeatMedialTrainer(prepare_point_cloud(circle_points(500)), config, torch.device("cpu"))
    initial = [parameter.clone() for parameter in trainer.network.parameters()]
    terms = [set(trainer.train_step()) for _ in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(initial, trainer.network.parameters(), strict=True))
    heat = [parameter.clone() for parameter in trainer.heat.parameters()]
    start = trainer.phase.last.bias.item()
    terms += [set(trainer.train_step()) for _ in range(4)]
    assert trainer.phase.last.bias.item() == start
    terms += [set(trainer.train_step()) for _ in range(4)]
    trained = trainer.phase.last.bias.item()
    assert trained != start
    terms += [set(trainer.train_step()) for _ in range(8)]
    assert trainer.phase.last.bias.item() == trained
    assert all(torch.equal(a, b) for a, b in zip(heat, trainer.heat.parameters(), strict=True))
    distance = {"surface", "alignment", "sides", "second_order"}
    assert terms == 4 * [{"heat_near", "heat_far"}] + 4 * [distance] + 4 * [distance | {"phase"}] + 8 * [distance]


def test_learning_rates_of_both_steps() -> None:
    """The distance step starts at the full rate again, with a warm-up of its own."""
    config = with_train(_short("heat_sdf", 100), warmup_steps=10)
    config = replace(config, heat_sdf=replace(config.heat_sdf, share=0.5))
    trainer = HeatSDFTrainer(prepare_point_cloud(circle_points(200)), config, torch.device("cpu"))
    trainer.step = 49
    low = trainer._learning_rate_scale(trainer.progress())
    trainer.step, trainer._distance_start = 60, 50
    high = trainer._learning_rate_scale(trainer.progress())
    trainer.step = 51
    assert low < 0.03 < 0.15 < trainer._learning_rate_scale(trainer.progress()) < 0.25 < 0.85 < high


@pytest.mark.slow
@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("interrupted_at", [5, 21])
def test_resumed_run(interrupted_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted in either step and resumed ends with the field of an uninterrupted one."""
    points, config = circle_points(500), _short("heat_medial", 26)
    uninterrupted = ls.reconstruct(points, config=config)
    step = FieldTrainer.train_step

    def interrupted(trainer: FieldTrainer) -> dict[str, float]:
        if trainer.step == interrupted_at:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    state = tmp_path / "state.pt"
    with monkeypatch.context() as patch:
        patch.setattr(FieldTrainer, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ls.reconstruct(points, config=config, checkpoint=state)
    resumed = ls.reconstruct(points, config=config, checkpoint=state)
    probes = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    assert np.array_equal(resumed.distance(probes), uninterrupted.distance(probes))
    assert np.array_equal(resumed.phase(probes), uninterrupted.phase(probes))


def test_open_curve(capsys: pytest.CaptureFixture[str]) -> None:
    """A note says that points without a closed curve do not determine the sides."""
    points = circle_points(2000)
    half = points[points[:, 0] > 0]
    config = _short("heat_sdf", 2)
    config = replace(config, heat_sdf=replace(config.heat_sdf, sides_from="flood_fill"))
    HeatSDFTrainer(prepare_point_cloud(half), config, torch.device("cpu"))
    assert "enclose no cell" in " ".join(capsys.readouterr().err.split())


def test_unsuitable_network() -> None:
    """The heat flow needs sine layers, and the phase field model space."""
    with pytest.raises(ConfigError, match="heat_sdf needs model.kind sine or quadratic, got softplus"):
        replace(preset("heat_sdf", 3), model=NetworkConfig())
    with pytest.raises(ConfigError, match="heat_medial is fitted in model space"):
        replace(preset("heat_medial", 3), normalization="minmax")
