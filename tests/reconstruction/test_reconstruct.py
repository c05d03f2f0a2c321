"""From points to a field: accuracy against closed forms, budgets, reproducibility, errors, the command."""

import errno
import json
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from helpers import files_of

import latentsdf as ls
from latentsdf.cli.main import main
from latentsdf.config.reconstruction import FieldLossConfig, Nearby, NetworkConfig, ReconstructConfig
from latentsdf.config.validation import require_in_range
from latentsdf.data.mixture import Mixture
from latentsdf.geometry.metrics.field import compare_fields
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.fit import Fit
from latentsdf.reconstruction.measure import measure
from latentsdf.reconstruction.planar import load_truth, measure_planar
from latentsdf.reconstruction.plots import level_sets
from latentsdf.reconstruction.presets import METHODS, preset
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.reconstruction.sampling import Batch, Sampler
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError, MeshError, TrainingError


def _circle(count: int, radius: float) -> np.ndarray:
    angle = np.random.default_rng(0).uniform(0, 2 * math.pi, count)
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _constant(method: str) -> FieldLossConfig:
    """The preset's weights at the start, without schedules and without what the cloud alone says of the distance."""
    loss = replace(preset(method, 2).loss, guide=(0.0,))
    weights = {name: value[:1] for name, value in vars(loss).items() if isinstance(value, tuple)}
    return replace(loss, **weights)


def _short(method: str, dim: int = 2, steps: int = 120) -> ReconstructConfig:
    """A preset cut down to seconds."""
    config = preset(method, dim)
    network = replace(config.network, width=32, depth=3, resolutions=(4, 8, 16, 32))
    return replace(config, network=network, steps=steps, surface_points=256, off_points=256)


@pytest.fixture(scope="module")
def annulus() -> tuple[np.ndarray, ls.Reconstruction]:
    points = np.concatenate((_circle(2000, 20.0), _circle(1000, 10.0))) + 5
    return points, ls.reconstruct(points, config=_short("latentsdf", steps=300))


def test_an_annulus_from_unoriented_points_in_the_users_frame(annulus: tuple[np.ndarray, ls.Reconstruction]) -> None:
    _, result = annulus
    probes = np.random.default_rng(1).uniform(-25, 35, (20_000, 2))
    radius = np.linalg.norm(probes - 5, axis=1)
    exact = np.maximum(radius - 20, 10 - radius)
    errors = compare_fields(result.distance(probes), exact)
    assert errors.iou > 0.98 and errors.mae < 0.4
    lines = np.concatenate(result.contours(256))
    found = np.linalg.norm(lines - 5, axis=1)
    assert np.minimum(np.abs(found - 20), np.abs(found - 10)).mean() < 0.1


def test_a_noisy_cloud_is_smoothed_first_unless_it_may_not_be(capsys: pytest.CaptureFixture[str]) -> None:
    points = _circle(5000, 20.0) + 0.3 * np.random.default_rng(1).normal(size=(5000, 2))
    config = replace(_short("latentsdf", steps=150), surface_points=1024)
    rough = {}
    for smoothed in (True, False):
        result = ls.reconstruct(points, config=replace(config, denoise=smoothed))
        rough[smoothed] = np.linalg.norm(np.concatenate(result.contours(256)), axis=1).std()
        assert ("they are smoothed first" in capsys.readouterr().err) == smoothed
    assert rough[True] < 0.7 * rough[False]


def test_a_torus_from_unoriented_points() -> None:
    torus = trimesh.creation.torus(0.65, 0.25)
    points = np.asarray(trimesh.sample.sample_surface(torus, 5000, seed=0)[0])
    result = ls.reconstruct(points, config=_short("latentsdf", 3, 200))
    probes = np.random.default_rng(1).uniform(-0.9, 0.9, (20_000, 3))
    exact = np.hypot(np.hypot(probes[:, 0], probes[:, 1]) - 0.65, probes[:, 2]) - 0.25
    errors = compare_fields(result.distance(probes), exact)
    assert errors.iou > 0.96 and errors.near_mae < 0.02
    mesh = result.mesh(64)
    assert mesh.is_watertight and mesh.euler_number == 0
    assert level_sets(result, size=32, axis="y").size == (32, 32)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "latentsdf"])
def test_each_classical_method_fits_a_circle(method: str) -> None:
    points = _circle(1000, 0.5)
    normals = points / 0.5 if method in ("igr", "siren") else None
    # Faster, StEik's directional divergence, which is not relaxed here, leaves a constant.
    lr = 1e-3 if method == "steik" else 2e-3
    config = replace(_short(method, steps=200), lr=lr, loss=_constant(method))
    if method in ("steik", "digs"):
        config = replace(config, network=replace(config.network, radius=1.0, slope=0.1))  # unguided, as published
    result = ls.reconstruct(points, normals, config=config)
    assert np.abs(result.distance(points)).mean() < 0.01
    first, last = result.history
    assert last["surface"] < first["surface"]
    assert ("divergence" in first, "directional" in first) == (method == "digs", method == "steik")
    assert result.distance(0.9 * points).mean() < 0 < result.distance(1.1 * points).mean()
    center, corner = result.distance(np.array([[0, 0], [0.45, 0.45]]))
    if method in ("hotspot", "igr"):
        assert center < -0.1 and corner > 0.02


@pytest.mark.parametrize("method", ["hotspot", "steik", "digs"])
def test_a_guide_is_followed_at_first_and_then_not_even_drawn(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw = Sampler.draw

    def counted(sampler: Sampler, guided: bool = True) -> Batch:
        batch = draw(sampler, guided)
        drawn.append(len(batch.guide))
        return batch

    monkeypatch.setattr(Sampler, "draw", counted)
    history = ls.reconstruct(_circle(1000, 0.5), config=_short(method, steps=500)).history
    followed = 1 if method == "hotspot" else 3
    assert [("guide" in means) for means in history] == followed * [True] + (5 - followed) * [False]
    assert drawn[0] == 256 and drawn[-1] == 0
    assert preset(method, 2, paper=True).loss.guide == preset(method, 3).loss.guide == (0.0,)


@pytest.mark.parametrize(("nearby", "near"), [("uniform", 0.1), ("gaussian", 0.01), ("local", 0.4)])
def test_points_off_the_cloud_lie_where_they_are_asked_for(nearby: Nearby, near: float) -> None:
    points = _circle(1000, 0.5) + np.array([[0.4, 0.0]])
    config = replace(_short("siren"), nearby=nearby, nearby_share=0.9, off_points=4000, gaussian_std=0.2)
    cloud = prepare_point_cloud(points)
    off = Sampler(cloud, config, torch.device("cpu")).draw().off
    distance = (off.norm(dim=1) - 1 / 1.03).abs()  # the circle in model space
    assert len(off) == 4000 and (distance < 0.1).float().mean() > near
    central = (off.norm(dim=1) < 0.3).float().mean()
    assert (central > 0.5) == (nearby == "gaussian")


def test_sign_agnostic_terms_see_the_unsigned_distance_to_the_cloud() -> None:
    sampler = Sampler(prepare_point_cloud(_circle(20_000, 0.5)), _short("siren"), torch.device("cpu"))
    points = torch.tensor([[0.5, 0.0], [0.0, -1.5]])
    distance, away = sampler.unsigned(points)
    torch.testing.assert_close(distance, torch.tensor([1 / 1.03 - 0.5, 1.5 - 1 / 1.03]), atol=1e-3, rtol=0)
    torch.testing.assert_close(away, torch.tensor([[-1.0, 0.0], [0.0, -1.0]]), atol=2e-3, rtol=0)
    loss = FieldLossConfig(sign_agnostic=(1.0,), sign_agnostic_normals=(0.1,))
    first, last = ls.reconstruct(_circle(1000, 0.5), config=replace(_short("igr", steps=200), loss=loss)).history
    assert last["sign_agnostic"] < first["sign_agnostic"] and "sign_agnostic_normals" in last


def test_normals_are_used_where_there_are_some() -> None:
    points = _circle(500, 0.5)
    config = _short("igr", steps=100)
    without, with_them = (ls.reconstruct(points, normals, config=config) for normals in (None, points))
    assert "normals" not in without.history[0]
    assert with_them.history[0]["normals"] > 0


def test_the_same_seed_gives_the_same_field_and_a_folder_keeps_it(tmp_path: Path) -> None:
    points = _circle(500, 3.0)
    first, second, other = (
        ls.reconstruct(points, config=replace(_short("hotspot", steps=20), seed=s)) for s in (0, 0, 1)
    )
    probes = np.random.default_rng(0).uniform(-3, 3, (200, 2))
    assert np.array_equal(first.distance(probes), second.distance(probes))
    assert not np.array_equal(first.distance(probes), other.distance(probes))
    first.save(tmp_path / "field")
    kept = ls.load_field(tmp_path / "field")
    assert np.array_equal(kept.distance(probes), first.distance(probes))
    assert kept.config == first.config and kept.history == first.history
    assert [entry["step"] for entry in first.history] == [20]
    assert len({path.stat().st_mode for path in (tmp_path / "field").iterdir()}) == 1  # who reads one reads all


def test_points_without_a_place_have_no_distance() -> None:
    field = ls.reconstruct(_circle(500, 3.0), config=_short("hotspot", steps=2))
    with pytest.raises(ls.ConfigError, match="1 of 2 points are not finite numbers"):
        field.distance([[0.0, np.nan], [0, 1]])
    with pytest.raises(ls.ConfigError, match=r"expected points \(N, 2\), got shape \(1, 3\)"):
        field.distance([[0.0, 1, 2]])


def test_a_folder_that_is_not_whole_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ls.load_field(tmp_path / "none")
    ls.reconstruct(_circle(500, 3.0), config=_short("hotspot", steps=2)).save(tmp_path / "field")
    config = (tmp_path / "field" / "config.yaml").read_text()
    (tmp_path / "field" / "config.yaml").write_text(config.replace("width: 32", "width: 16"))
    with pytest.raises(CheckpointError, match="different runs"):
        ls.load_field(tmp_path / "field")
    (tmp_path / "field" / "field.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        ls.load_field(tmp_path / "field")
    (tmp_path / "field" / "field.json").unlink()
    with pytest.raises(CheckpointError, match=r"field\.json is missing"):
        ls.load_field(tmp_path / "field")


def test_budgets_and_patience_end_a_run() -> None:
    points = _circle(500, 1.0)
    timed = ls.reconstruct(points, config=replace(_short("hotspot", steps=10**9), minutes=0.005))
    assert len(timed.history) < 1000
    # Preparing the cloud is no step: with a budget that it alone would use up, the field is still fitted.
    hasty = replace(preset("latentsdf", 2), minutes=1e-3)
    assert ls.reconstruct(points, config=hasty).history[-1]["step"] >= 1
    stuck = replace(_short("hotspot", steps=2000), lr=1e-12, lr_matrices=0.0, patience=2)
    assert ls.reconstruct(points, config=stuck).history[-1]["step"] <= 500


@pytest.mark.parametrize("method", ["latentsdf", "medial_axis", "hotspot"])
def test_a_stopped_run_goes_on_as_if_never_stopped(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, config = _circle(500, 1.0), _short(method, steps=130)
    through = ls.reconstruct(points, config=config)
    step = Fit.train_step

    def interrupted(fit: Fit) -> dict[str, float]:
        if fit.step == 105:
            signal.raise_signal(signal.SIGINT)
        return step(fit)

    state = tmp_path / "state.pt"
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ls.reconstruct(points, config=config, unfinished=state)
    with pytest.raises(CheckpointError, match="a stopped run on other points or with other settings"):
        ls.reconstruct(2 * points[:400], config=config, unfinished=state)
    stopped = ls.reconstruct(points, config=config, unfinished=state)
    probes = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    assert np.array_equal(stopped.distance(probes), through.distance(probes))
    assert [entry["surface"] for entry in stopped.history] == [entry["surface"] for entry in through.history]
    state.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        ls.reconstruct(points, config=config, unfinished=state)


def test_a_loss_that_is_not_finite_stops_by_name() -> None:
    config = replace(_short("hotspot"), lr=1e30, clip=0.0)
    with pytest.raises(TrainingError, match=r"step \d+: the .* not finite; lower lr"):
        ls.reconstruct(_circle(500, 1.0), config=config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"extent": 0.5}, "extent must be at least 1"),
        ({"network": NetworkConfig(kind="pyramid", resolutions=())}, "resolutions must name the cells per axis"),
        (
            {"network": NetworkConfig(kind="pyramid", resolutions=(8, 0))},
            r"network\.resolutions must be at least 1, got 0",
        ),
        ({"nearby": "local", "loss": FieldLossConfig(heat=(1.0,))}, "heat term .* nearby must be gaussian or uniform"),
        ({"lr": -1.0}, r"lr must be at least 0, got -1\.0"),
        ({"lr": math.nan}, "lr must be a finite number, got nan"),
        ({"lr_final": 2.0}, "lr_final is a share and must be at most 1"),
        ({"loss": FieldLossConfig(eikonal=(0.1, 0.5, -0.1, 0.1))}, r"loss\.eikonal must be at least 0, got -0\.1"),
        ({"network": NetworkConfig(width=1)}, r"network\.width must be at least"),
        ({"loss": FieldLossConfig(heat=(1.0, 0.9, 2.0, 0.1, 3.0, 4.0))}, "times rising"),
        (
            {"network": NetworkConfig(kind="pyramid"), "loss": FieldLossConfig(directional=(1.0,))},
            "no pure second derivatives; leave out directional",
        ),
    ],
)
def test_unusable_settings_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ls.reconstruct(_circle(500, 1.0), config=replace(ReconstructConfig(), **change))  # type: ignore[arg-type]


def test_presets_exist_for_both_dimensions_and_unknown_ones_are_refused() -> None:
    for method in METHODS:
        for dim in (2, 3):
            assert preset(method, dim).method == method
            require_in_range(preset(method, dim), {})
            if method != "latentsdf":
                paper = preset(method, dim, paper=True)
                assert paper.steps >= 10_000
                require_in_range(paper, {})
    with pytest.raises(ConfigError, match="method must be one of"):
        preset("poisson", 3)
    with pytest.raises(ConfigError, match="no published settings"):
        preset("latentsdf", 3, paper=True)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_mixtures_density_is_that_of_its_points(dim: int, share: float) -> None:
    mixture = Mixture(dim, 1.1, 0.5, share)
    points = mixture.draw(200_000, torch.Generator().manual_seed(0))
    # E[1 / density] over the points of a set is its volume.
    for low, high in ((-0.3, 0.4), (0.5, 1.1), (-1.1, 1.1)):
        held = ((points > low) & (points < high)).all(1)
        volume = (held / mixture.density(points)).mean().item()
        assert volume == pytest.approx((high - low) ** dim, rel=0.06)
    assert points.abs().max() <= 1.1


def test_the_command_writes_a_field_its_mesh_pictures_and_a_report(tmp_path: Path) -> None:
    torus = trimesh.creation.torus(0.65, 0.25)
    torus.export(tmp_path / "torus.ply")
    np.save(tmp_path / "points.npy", np.asarray(trimesh.sample.sample_surface(torus, 3000, seed=0)[0]))
    words = ["reconstruct", str(tmp_path / "points.npy"), "--out", str(tmp_path / "out"), "--steps", "100"]
    words += ["--network.resolutions", "[4, 8, 16]", "--resolution", "64", "--truth", str(tmp_path / "torus.ply")]
    assert main(words) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["accuracy"]["field"]["iou"] > 0.9
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"slice_x.png", "slice_y.png", "slice_z.png", "steps.png"} <= written
    assert 1 < report["tracing"]["mean"] < report["tracing"]["p95"] and report["tracing"]["unfinished"] < 0.1
    assert trimesh.load(tmp_path / "out" / "mesh.ply").is_watertight
    assert ls.load_field(tmp_path / "out").dim == 3


def test_a_fit_without_a_surface_leaves_what_it_can_be_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*_: object) -> trimesh.Trimesh:
        raise EmptyLevelSetError("no zero")

    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(300, 3)))
    monkeypatch.setattr(ls.Reconstruction, "mesh", empty)
    out = tmp_path / "out"
    small = ["--steps", "2", "--network.resolutions", "[4]", "--resolution", "16", "--out", str(out)]
    assert main(["reconstruct", str(tmp_path / "points.npy"), *small]) == 2
    assert {"field.json", "report.json", "slice_x.png", "steps.png"} <= set(files_of(out))


def test_the_command_goes_on_with_a_stopped_run_and_takes_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "points.npy", _circle(300, 1.0))
    out = tmp_path / "out"
    words = ["reconstruct", str(tmp_path / "points.npy"), "--resolution", "16", "--out", str(out)]
    small = ["--method", "hotspot", "--network.width", "8", "--steps", "4", "--seed", "3"]
    step = Fit.train_step

    def interrupted(fit: Fit) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return step(fit)

    def said() -> str:
        return " ".join(capsys.readouterr().err.split())

    assert main([*words, *small, "--resume"]) == 2 and "holds no stopped reconstruction" in said()
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "train_step", interrupted)
        assert main([*words, *small]) == 130
    assert main([*words, *small]) == 2 and "pass --resume to go on" in said()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Reconstruction, "save", full)
        assert main([*words, *small, "--resume"]) == 2 and "No space left" in said()
    assert main([*words, *small, "--resume"]) == 0
    assert not (out / "unfinished.pt").exists()
    assert ls.load_field(out).history[-1]["step"] == 4
    again = [*words[:-1], str(tmp_path / "again"), "--config", str(out / "config.yaml")]
    assert main([*again, "--method", "igr"]) == 2 and "--config says everything" in said()
    assert main(again) == 0
    assert ls.load_field(tmp_path / "again").config == ls.load_field(out).config
    for method, useless in (("medial_axis", "--loss.heat"), ("hotspot", "--medial.width")):
        assert main([*words, "--method", method, useless, "1.0", "--overwrite"]) == 2
        assert f"'{method}' makes no use of {useless[2:]}" in said()


def test_the_command_uses_the_normals_of_a_file(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.savetxt(tmp_path / "cloud.xyz", np.hstack((0.7 * points, points)))
    words = ["reconstruct", str(tmp_path / "cloud.xyz"), "--method", "igr", "--out", str(tmp_path / "out")]
    words += ["--steps", "100", "--network.width", "16", "--network.depth", "2", "--resolution", "16"]
    assert main(words) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["last"][0]["normals"] > 0


def test_the_command_draws_planar_clouds_and_refuses_what_is_no_table(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "points.csv", _circle(300, 1.0), delimiter=",")
    words = ["reconstruct", str(tmp_path / "points.csv"), "--method", "hotspot", "--out", str(tmp_path / "out")]
    truth = ["--truth", str(_truth_of_a_disk(tmp_path / "disk.npz", radius=1.0))]
    assert main([*words, *truth, "--steps", "100", "--network.width", "16", "--resolution", "64"]) == 0
    accuracy = json.loads((tmp_path / "out" / "report.json").read_text())["accuracy"]
    assert 0 < accuracy["field"]["iou"] < 1 and accuracy["curve"]["cd_l1_half"] > accuracy["curve"]["floor_cd_l1_half"]
    lines = json.loads((tmp_path / "out" / "contours.json").read_text())
    assert len(lines) >= 1 and (tmp_path / "out" / "slice.png").is_file()
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    assert main(["reconstruct", str(tmp_path / "words.csv"), "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(MeshError, match="signed samples"):
        ls.reconstruct(np.zeros((200, 4)))


def test_the_command_keeps_an_earlier_result_unless_told_and_then_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    np.save(tmp_path / "solid.npy", np.random.default_rng(0).normal(size=(300, 3)))
    np.save(tmp_path / "plane.npy", _circle(300, 1.0))
    small = ["--method", "hotspot", "--steps", "2", "--network.width", "8", "--resolution", "16", "--out", str(out)]
    assert main(["reconstruct", str(tmp_path / "solid.npy"), *small]) == 0
    before = files_of(out)
    assert {"mesh.ply", "slice_x.png", "report.json"} < set(before)
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small]) == 2
    assert "holds a reconstruction already; pass --overwrite" in " ".join(capsys.readouterr().err.split())
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, "--overwrite", "--lr", "nan"]) == 2
    assert files_of(out) == before
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, "--overwrite"]) == 0
    parts = {"field.json", "field.safetensors", "config.yaml", "slice.png", "contours.json", "report.json"}
    assert set(files_of(out)) == parts
    (out / "model.safetensors").touch()
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, "--overwrite"]) == 2
    assert "holds a trained space; name another --out" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("slope", [1.0, 2.0, -1.0])
def test_accuracy_of_the_field_of_a_sphere_with_a_slope(slope: float) -> None:
    class Sphere(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Parameter(torch.tensor(slope))

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return self.slope * (points.norm(dim=1) - 0.6)

    ball = trimesh.creation.icosphere(4, 1.2)
    ball.apply_translation((3.0, 0.0, 0.0))
    result = Reconstruction(Sphere(), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    accuracy = measure(result, ball, ball, n=500)
    assert accuracy.normal_error == pytest.approx(0.0 if slope > 0 else 2.0, abs=1e-4)
    assert (accuracy.field.eikonal, accuracy.field.near_eikonal) == pytest.approx((abs(slope) - 1,) * 2, abs=1e-5)
    wrong = abs(slope - 1) * np.abs(np.linalg.norm(np.random.default_rng(0).uniform(-1, 1, (50_000, 3)), axis=1) - 0.6)
    assert accuracy.field.mae == pytest.approx(wrong.mean(), abs=2e-3)
    assert accuracy.as_dict()["normal_error"] == accuracy.normal_error and accuracy.surface.to_reference_mean < 1e-9


def _truth_of_a_disk(path: Path, radius: float = 0.5) -> Path:
    axis = np.linspace(-1.2, 1.2, 128)
    grid = np.hypot(axis[None, :] - 0.3, axis[:, None]) - radius  # the centre is at x = 0.3
    np.savez(path, sdf_grid=grid, grid_axis=axis, surface_points=_circle(2000, radius) + np.array([0.3, 0.0]))
    return path


def test_accuracy_of_a_planar_field_against_exact_distances(tmp_path: Path) -> None:
    class Disk(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.radius = torch.nn.Parameter(torch.tensor(0.9))

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return points.norm(dim=1) - self.radius

    truth = load_truth(_truth_of_a_disk(tmp_path / "disk.npz"))
    # The field's disk has radius 0.9 / 1.5 = 0.6 in the user's frame, a tenth more than the truth's.
    result = Reconstruction(Disk(), Similarity((0.3, 0.0), 1.5), ReconstructConfig(extent=3.0))
    accuracy = measure_planar(result, truth)
    assert accuracy.field.mae == pytest.approx(0.1, abs=1e-4)
    assert accuracy.field.iou == pytest.approx((0.5 / 0.6) ** 2, abs=0.01)
    assert accuracy.curve.cd_l1_half == pytest.approx(0.1, abs=1e-3)
    assert accuracy.curve.hausdorff == pytest.approx(0.1, abs=2e-3)
    assert accuracy.floor.cd_l1_half < 1e-3
    assert accuracy.as_dict()["curve"]["floor_hausdorff"] == accuracy.floor.hausdorff


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"sdf_grid": None}, "is an .npz with"),
        ({"sdf_grid": np.zeros((3, 128))}, "expected grid_axis"),
        ({"sdf_grid": np.ones((128, 128))}, "an inside and an outside"),
        ({"grid_axis": np.linspace(1, -1, 128)}, "must rise"),
        ({"surface_points": np.full((4, 2), np.nan)}, "finite"),
    ],
)
def test_a_planar_truth_that_is_none_is_refused(tmp_path: Path, changed: dict[str, Any], complaint: str) -> None:
    with np.load(_truth_of_a_disk(tmp_path / "disk.npz")) as file:
        arrays = dict(file) | changed
    np.savez(tmp_path / "changed.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(MeshError, match=complaint):
        load_truth(tmp_path / "changed.npz")


def test_field_errors_by_hand() -> None:
    errors = compare_fields(np.array([-0.05, 0.1, 0.2, -1.0]), np.array([-0.1, -0.1, 0.2, 1.0]))
    assert errors.iou == 1 / 3
    assert errors.mae == pytest.approx((0.05 + 0.2 + 2) / 4)
    assert errors.rmse == pytest.approx(math.sqrt((0.05**2 + 0.2**2 + 4) / 4))
    assert errors.smape == pytest.approx((2 * 0.05 / 0.15 + 2 * 0.2 / 0.2 + 0 + 2 * 2 / 2) / 4)
    assert errors.near_mae == pytest.approx(0.125)
