"""From points to a field: accuracy against closed forms, reproducibility, resumption."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.points import circle_points, oriented_sphere_points
from helpers.settings import short_preset, with_train

import latentsdf as ls
from latentsdf.config.reconstruction import FieldLossConfig, NetworkConfig
from latentsdf.geometry.metrics.field import compare_fields
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.plots import draw_distance
from latentsdf.reconstruction.presets import METHOD_NAMES, preset
from latentsdf.utils.errors import CheckpointError, MeshError

GUIDED = ("latentsdf", "instant_ngp", "lipschitz")
"""Methods that find the sides of a surface by the guide alone."""
_TESTED_ELSEWHERE = ("heat_sdf", "heat_medial", "signed_heat", "poisson")


def _constant_loss(method: str) -> FieldLossConfig:
    """The weights of a preset at the start of the run, without a guide."""
    loss = replace(preset(method, 2).loss, guide=(0.0,))
    weights = {name: value[:1] for name, value in vars(loss).items() if isinstance(value, tuple)}
    return replace(loss, **weights)


@pytest.mark.slow
def test_annulus_from_unoriented_points() -> None:
    """An annulus far from the origin is fitted in the user's frame and unit."""
    points = np.concatenate((circle_points(2000, 20.0), circle_points(1000, 10.0))) + 5
    result = ls.reconstruct(points, config=short_preset("latentsdf", steps=300))
    probes = np.random.default_rng(1).uniform(-25, 35, (20_000, 2))
    radius = np.linalg.norm(probes - 5, axis=1)
    exact = np.maximum(radius - 20, 10 - radius)
    errors = compare_fields(result.distance(probes), exact)
    assert errors.iou > 0.98 and errors.mae < 0.4
    lines = np.concatenate(result.contours(256))
    found = np.linalg.norm(lines - 5, axis=1)
    assert np.minimum(np.abs(found - 20), np.abs(found - 10)).mean() < 0.1


def test_published_frame(tmp_path: Path) -> None:
    """Lengths of the settings refer to the frame of the fit, results to the frame of the points, also when loaded."""
    model = NetworkConfig(kind="sine", start="sphere", width=128, depth=4, radius=0.3)
    config = replace(short_preset("igr", steps=1), model=model, normalization="mean_quantile")
    angles = np.arange(500) * np.pi / 250
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    result = ls.reconstruct(20 * circle + 5, config=with_train(config, lr_network=1e-12))
    # HotSpot's frame has the circle at radius 0.45, so the initial sphere has radius 0.3 / 0.45 * 20.
    for radius in (8.0, 40 / 3, 18.0):
        assert result.distance(5 + radius * circle) == pytest.approx(radius - 40 / 3, abs=1.0)
    result.save(tmp_path / "field")
    probes = np.random.default_rng(0).uniform(-40, 40, (200, 2))
    np.testing.assert_array_equal(ls.load_field(tmp_path / "field").distance(probes), result.distance(probes))


@pytest.mark.slow
def test_denoised_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    """With `denoise`, a noisy cloud is smoothed first and a note is printed."""
    points = circle_points(5000, 20.0) + 0.3 * np.random.default_rng(1).normal(size=(5000, 2))
    config = with_train(short_preset("latentsdf", steps=150), surface_points=1024)
    roughness = {}
    for denoise in (True, False):
        result = ls.reconstruct(points, config=replace(config, denoise=denoise))
        roughness[denoise] = np.linalg.norm(np.concatenate(result.contours(256)), axis=1).std()
        assert ("points are smoothed first" in " ".join(capsys.readouterr().err.split())) == denoise
    assert roughness[True] < 0.7 * roughness[False]


@pytest.mark.slow
def test_torus_from_unoriented_points() -> None:
    """A torus is fitted to unoriented points, and its mesh is a closed surface of genus 1."""
    torus = trimesh.creation.torus(0.65, 0.25)
    points = np.asarray(trimesh.sample.sample_surface(torus, 5000, seed=0)[0])
    result = ls.reconstruct(points, config=short_preset("latentsdf", 3, 200))
    probes = np.random.default_rng(1).uniform(-0.9, 0.9, (20_000, 3))
    exact = np.hypot(np.hypot(probes[:, 0], probes[:, 1]) - 0.65, probes[:, 2]) - 0.25
    errors = compare_fields(result.distance(probes), exact)
    assert errors.iou > 0.96 and errors.near_mae < 0.02
    mesh = result.mesh(64)
    assert mesh.is_watertight and mesh.euler_number == 0
    assert draw_distance(result, size=32, axis="y").size == (32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in METHOD_NAMES if m not in (*GUIDED, *_TESTED_ELSEWHERE)])
def test_circle_by_each_published_method(method: str) -> None:
    """Each method fits a circle with the inside negative, and records the terms of its loss."""
    points = circle_points(1000, 0.5)
    normals = points / 0.5 if method in ("igr", "siren") else None
    # At a larger rate StEik's directional divergence, which is constant here, leads to a constant field.
    lr_network = 1e-3 if method == "steik" else 2e-3
    config = with_train(replace(short_preset(method, steps=200), loss=_constant_loss(method)), lr_network=lr_network)
    if method in ("steik", "digs"):
        config = replace(config, model=replace(config.model, radius=1.0, slope=0.1))  # unguided, as published
    result = ls.reconstruct(points, normals, config=config)
    assert np.abs(result.distance(points)).mean() < 0.01
    first, last = result.history
    assert last["surface"] < first["surface"]
    assert ("laplacian" in first) == (method == "digs") and ("directional_divergence" in first) == (method == "steik")
    assert result.distance(0.9 * points).mean() < 0 < result.distance(1.1 * points).mean()
    center, corner = result.distance(np.array([[0, 0], [0.45, 0.45]]))
    if method in ("hotspot", "igr"):
        assert center < -0.1 and corner > 0.02


@pytest.mark.slow
def test_reproducibility_by_seed() -> None:
    """The same seed gives the same field bit for bit, another seed another field."""
    points = circle_points(500, 3.0)
    first, second, other = (
        ls.reconstruct(points, config=with_train(short_preset("hotspot", steps=20), seed=seed)) for seed in (0, 0, 1)
    )
    probes = np.random.default_rng(0).uniform(-3, 3, (200, 2))
    assert np.array_equal(first.distance(probes), second.distance(probes))
    assert not np.array_equal(first.distance(probes), other.distance(probes))


@pytest.mark.slow
@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("method", ["latentsdf", "medial_axis", "hotspot"])
def test_resumed_run(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted and resumed ends with the field of an uninterrupted one, bit for bit."""
    points, config = circle_points(500, 1.0), short_preset(method, steps=26)
    uninterrupted = ls.reconstruct(points, config=config)
    step = FieldTrainer.train_step

    def interrupted(trainer: FieldTrainer) -> dict[str, float]:
        if trainer.step == 21:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    state = tmp_path / "state.pt"
    with monkeypatch.context() as patch:
        patch.setattr(FieldTrainer, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ls.reconstruct(points, config=config, checkpoint=state)
    with pytest.raises(CheckpointError, match="an unfinished run with other points or other settings"):
        ls.reconstruct(2 * points[:400], config=config, checkpoint=state)
    resumed = ls.reconstruct(points, config=config, checkpoint=state)
    probes = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    assert np.array_equal(resumed.distance(probes), uninterrupted.distance(probes))
    assert [entry["surface"] for entry in resumed.history] == [entry["surface"] for entry in uninterrupted.history]


def test_signed_samples() -> None:
    """Points with a fourth column are refused: they are signed samples, not a cloud."""
    points = oriented_sphere_points(0.5, 200)[0]
    points *= 1 + 0.1 * np.sin(5 * points[:, :1])
    samples = np.column_stack((points, np.linalg.norm(points, axis=1) - 0.5))
    with pytest.raises(MeshError, match="signed samples"):
        ls.reconstruct(samples)
