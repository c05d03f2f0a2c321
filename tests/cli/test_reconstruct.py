"""The command `reconstruct`: files, resumption, overwriting, configuration files."""

import errno
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.files import files_of
from helpers.points import circle_points, write_disk_truth

import latentsdf as ls
from latentsdf.cli.main import main
from latentsdf.reconstruction import reconstruct
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.errors import EmptyLevelSetError


@pytest.mark.slow
def test_solid(tmp_path: Path) -> None:
    """A torus yields a field, a closed mesh, images and a report with its accuracy."""
    torus = trimesh.creation.torus(0.65, 0.25)
    torus.export(tmp_path / "torus.ply")
    np.save(tmp_path / "points.npy", np.asarray(trimesh.sample.sample_surface(torus, 3000, seed=0)[0]))
    args = ["reconstruct", str(tmp_path / "points.npy"), "--out", str(tmp_path / "out"), "--steps", "100"]
    args += ["--model.resolutions", "[4, 8, 16]", "--resolution", "64", "--truth", str(tmp_path / "torus.ply")]
    assert main(args) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["accuracy"]["field"]["iou"] > 0.9
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"slice_x.png", "slice_y.png", "slice_z.png", "steps.png"} <= written
    assert 1 < report["tracing"]["mean"] < report["tracing"]["p95"] and report["tracing"]["unfinished"] < 0.1
    assert trimesh.load(tmp_path / "out" / "mesh.ply").is_watertight
    assert ls.load_field(tmp_path / "out").dim == 3


@pytest.mark.slow
def test_field_without_surface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The field, the images and the report of a failed fit are kept."""

    def empty(*_: object) -> trimesh.Trimesh:
        raise EmptyLevelSetError("no zero")

    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(300, 3)))
    monkeypatch.setattr(ls.Reconstruction, "mesh", empty)
    out = tmp_path / "out"
    small = ["--steps", "2", "--model.resolutions", "[4]", "--resolution", "16", "--out", str(out)]
    assert main(["reconstruct", str(tmp_path / "points.npy"), *small]) == 2
    assert {"field.json", "report.json", "slice_x.png", "steps.png"} <= set(files_of(out))


@pytest.mark.slow
def test_resumption_and_configuration_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped run needs --resume or --overwrite; a configuration file replaces --method."""
    np.save(tmp_path / "points.npy", circle_points(300, 1.0))
    out = tmp_path / "out"
    args = ["reconstruct", str(tmp_path / "points.npy"), "--resolution", "16", "--out", str(out)]
    small = ["--method", "hotspot", "--model.width", "8", "--steps", "4", "--seed", "3"]
    step = FieldTrainer.train_step

    def interrupted(trainer: FieldTrainer) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return step(trainer)

    def printed() -> str:
        return " ".join(capsys.readouterr().err.split())

    assert main([*args, *small, "--resume"]) == 2 and "holds no unfinished reconstruction" in printed()
    with monkeypatch.context() as patch:
        patch.setattr(FieldTrainer, "train_step", interrupted)
        assert main([*args, *small]) == 130
    assert main([*args, *small]) == 2 and "pass --resume to continue" in printed()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Reconstruction, "save", full)
        assert main([*args, *small, "--resume"]) == 2 and "No space left" in printed()
    assert main([*args, *small, "--resume"]) == 0
    assert not (out / "unfinished.pt").exists()
    assert ls.load_field(out).history[-1]["step"] == 4
    again = [*args[:-1], str(tmp_path / "again"), "--config", str(out / "config.yaml")]
    assert main([*again, "--method", "igr"]) == 2 and "--config replaces the preset" in printed()
    assert main(again) == 0
    assert ls.load_field(tmp_path / "again").config == ls.load_field(out).config
    for method, useless in (
        ("medial_axis", "--loss.heat"),
        ("hotspot", "--medial.axis_width"),
        ("heat_sdf", "--medial.axis_width"),
        ("heat_medial", "--loss.heat"),
        ("signed_heat", "--train.lr_network"),
    ):
        assert main([*args, "--method", method, useless, "1.0", "--overwrite"]) == 2
        assert f"'{method}' does not use {useless[2:]}" in printed()


@pytest.mark.slow
def test_configuration_of_version_0_1(tmp_path: Path) -> None:
    """A configuration file that version 0.1 wrote is accepted."""
    np.save(tmp_path / "points.npy", circle_points(300, 1.0))
    old = Path(__file__).parents[1] / "data_0_1" / "field_2d" / "config.yaml"
    args = ["reconstruct", str(tmp_path / "points.npy"), "--config", str(old), "--out", str(tmp_path / "out")]
    assert main([*args, "--steps", "2", "--resolution", "32"]) in (0, 2)  # two steps may leave no zero
    assert ls.load_field(tmp_path / "out").config.train.lr_network == 2e-3


@pytest.mark.slow
def test_normals_of_file(tmp_path: Path) -> None:
    """Normals in a file of points are used."""
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.savetxt(tmp_path / "cloud.xyz", np.hstack((0.7 * points, points)))
    args = ["reconstruct", str(tmp_path / "cloud.xyz"), "--method", "igr", "--out", str(tmp_path / "out")]
    args += ["--steps", "100", "--model.width", "16", "--model.depth", "2", "--resolution", "16"]
    assert main(args) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["last"][0]["normals"] > 0


@pytest.mark.parametrize(("method", "ignored"), [("digs", True), ("igr", False), ("lipschitz", False)])
def test_note_on_ignored_normals(
    method: str, ignored: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note says so if a method does not use the normals of a file; those that need sides use them for these."""
    normals = np.random.default_rng(0).normal(size=(300, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    np.savetxt(tmp_path / "cloud.xyz", np.hstack((0.7 * normals, normals)))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reconstruct, "reconstruct", interrupted)
    args = ["reconstruct", str(tmp_path / "cloud.xyz"), "--method", method, "--out", str(tmp_path / "out")]
    assert main(args) == 130
    assert ("does not use them" in " ".join(capsys.readouterr().err.split())) == ignored


@pytest.mark.slow
def test_planar_points(tmp_path: Path) -> None:
    """Planar points yield contours, a slice and an accuracy; files without a table are rejected."""
    np.savetxt(tmp_path / "points.csv", circle_points(300, 1.0), delimiter=",")
    args = ["reconstruct", str(tmp_path / "points.csv"), "--method", "hotspot", "--out", str(tmp_path / "out")]
    truth = ["--truth", str(write_disk_truth(tmp_path / "disk.npz", radius=1.0))]
    assert main([*args, *truth, "--steps", "100", "--model.width", "16", "--resolution", "64"]) == 0
    accuracy = json.loads((tmp_path / "out" / "report.json").read_text())["accuracy"]
    assert 0 < accuracy["field"]["iou"] < 1 and accuracy["curve"]["cd_l1_half"] > accuracy["curve"]["floor_cd_l1_half"]
    lines = json.loads((tmp_path / "out" / "contours.json").read_text())
    assert len(lines) >= 1 and (tmp_path / "out" / "slice.png").is_file()
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    assert main(["reconstruct", str(tmp_path / "words.csv"), "--out", str(tmp_path / "out")]) == 2


@pytest.mark.slow
def test_phase_image(tmp_path: Path) -> None:
    """The method `medial_axis` yields an image of its phase field."""
    points = circle_points(300, 1.0)
    np.savetxt(tmp_path / "points.csv", points, delimiter=",")
    args = ["reconstruct", str(tmp_path / "points.csv"), "--method", "medial_axis", "--out", str(tmp_path / "out")]
    assert main([*args, "--steps", "10", "--model.width", "16", "--resolution", "32"]) == 0
    assert {"phase.png", "slice.png", "contours.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.slow
def test_overwriting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --overwrite an earlier result is kept; with it, all files of the earlier result are removed."""
    out = tmp_path / "out"
    np.save(tmp_path / "solid.npy", np.random.default_rng(0).normal(size=(300, 3)))
    np.save(tmp_path / "plane.npy", circle_points(300, 1.0))
    small = ["--method", "hotspot", "--steps", "2", "--model.width", "8", "--resolution", "16", "--out", str(out)]
    assert main(["reconstruct", str(tmp_path / "solid.npy"), *small]) == 0
    before = files_of(out)
    assert {"mesh.ply", "slice_x.png", "report.json"} < set(before)
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small]) == 2
    assert "holds a reconstruction already; pass --overwrite" in " ".join(capsys.readouterr().err.split())
    invalid = ["--overwrite", "--train.lr_network", "nan"]
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, *invalid]) == 2
    assert files_of(out) == before
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, "--overwrite"]) == 0
    parts = {"field.json", "field.safetensors", "config.yaml", "slice.png", "contours.json", "report.json"}
    assert set(files_of(out)) == {*parts, "manifest.json"}
    (out / "model.safetensors").touch()
    assert main(["reconstruct", str(tmp_path / "plane.npy"), *small, "--overwrite"]) == 2
    assert "holds a trained space; name another --out" in " ".join(capsys.readouterr().err.split())
