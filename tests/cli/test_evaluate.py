"""`latentsdf evaluate`: training shapes, unseen shapes and folders of fits."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.points import oriented_sphere_points
from helpers.settings import small_config
from helpers.training import save_untrained

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.reconstruction import NetworkConfig
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import load, save
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.geometry.similarity import Similarity
from latentsdf.models.factory import build_network
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.space import ShapeSpace


@pytest.mark.slow
def test_evaluation_with_bad_shapes(
    trained_space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluation names shapes by id and lists those that failed."""
    for name in ("a", "b"):
        save(furniture("table", 9), tmp_path / "table" / name / "models" / "model_normalized.obj")
    lines = "".join(f"v {x} 0 0\n" for x in range(12)) + "".join(f"f {i} {i + 1} {i + 2}\n" for i in range(1, 11))
    (tmp_path / "table" / "c" / "models").mkdir(parents=True)
    (tmp_path / "table" / "c" / "models" / "model_normalized.obj").write_text(lines)
    command = ["evaluate", str(trained_space_path), "--meshes", str(tmp_path), "--json", "--device", "cpu"]
    colored = ["--colors", "error", "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--invert", "--resolution", "32", "--points", "500", *colored]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["shapes"]) == {"a", "b"} and set(result["failed"]) == {"c"}
    (read,) = trimesh.load_scene(tmp_path / "out" / "errors" / "a.glb", process=False).geometry.values()
    assert len(np.unique(read.visual.vertex_colors, axis=0)) > 10 and "vertex_normals" in read._cache
    assert cli.main(command) == 1  # None of them is a training shape.


@pytest.mark.slow
def test_evaluation_of_fit_folders(
    trained_space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of inversions are evaluated against reference meshes."""
    meshes, fits = tmp_path / "meshes", tmp_path / "fits"
    for name, number in (("a", 1), ("b", 2)):
        save(furniture("table", number), meshes / f"{name}.ply")
    paths = [str(meshes / "a.ply"), str(meshes / "b.ply")]
    small = ["--resolution", "32", "--device", "cpu"]
    assert cli.main(["invert", str(trained_space_path), *paths, "--out", str(fits), "--steps", "5", *small]) == 0
    shutil.copytree(fits / "a", fits / "damaged")
    (fits / "damaged" / "code.npy").write_bytes(b"")
    (fits / "b").rename(fits / "renamed")  # still the fit of b, according to its report
    capsys.readouterr()
    save(furniture("table", 3), meshes / "without_fit.ply")
    command = ["evaluate", str(trained_space_path), "--meshes", str(meshes), "--points", "500", "--json", *small]
    assert cli.main([*command, "--fits", str(fits)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["shapes"]) == {"a", "b"} and set(found["failed"]) == {"damaged"}
    assert (found["field_points"], found["reference"]) == (20_000, "samples")
    mesh = load(fits / "a" / "mesh.ply")
    similarity = json.loads((fits / "a" / "report.json").read_text())["similarity"]
    to_model = Similarity(tuple(similarity["center"]), similarity["scale"]).to_model
    both = [trimesh.Trimesh(to_model(m.vertices), m.faces, process=False) for m in (mesh, load(meshes / "a.ply"))]
    expected = compare_surfaces(*both, count=500).as_dict()
    assert {n: found["shapes"]["a"][n] for n in expected} == pytest.approx(expected, rel=1e-3)
    assert cli.main([*command, "--fits", str(fits / "renamed")]) == 0
    assert set(json.loads(capsys.readouterr().out)["shapes"]) == {"b"}
    (meshes / "b.ply").unlink()
    assert cli.main([*command, "--fits", str(fits / "renamed")]) == 1
    assert "no reference mesh of this name" in json.loads(capsys.readouterr().out)["failed"]["b"]
    for args, message in (
        (["--fits", str(meshes)], "holds no fit; write some with `latentsdf invert"),
        (["--fits", str(fits), "--invert"], "leave out --invert"),
        (["--one-code"], "--one-code requires --invert"),
        (["--colors", "error"], "--colors error writes meshes; also pass --out FOLDER"),
        (["--taus", "0.5", "2"], "thresholds of the F-score must be above 0 and below 1, got 2"),
    ):
        assert cli.main([*command, *args]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_evaluation_with_one_code(trained_space_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unseen shapes can be evaluated by one shared code."""
    save(furniture("table", 9), tmp_path / "a.ply")
    asked: list[InvertConfig] = []
    monkeypatch.setattr(
        ShapeSpace, "invert_many", lambda _, seen, config, **__: asked.append(config) or [np.zeros(8)] * len(seen)
    )
    command = [
        "evaluate",
        str(trained_space_path),
        "--meshes",
        str(tmp_path),
        "--invert",
        "--resolution",
        "16",
        "--points",
        "9",
    ]
    for args in ([], ["--one-code"]):
        cli.main([*command, *args, "--device", "cpu"])
    assert [config.by_layer for config in asked] == [True, False]


def test_unwritable_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]) -> None:
    """An unusable output folder is rejected before the evaluation starts."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr("latentsdf.evaluation.evaluate.evaluate", work)
    save_untrained(tmp_path / "space", small_config())
    taken, space = tmp_path / "taken", [str(tmp_path / "space"), "--device", "cpu"]
    taken.write_text("a file")
    assert cli.main(["evaluate", *space, "--meshes", str(tmp_path), "--out", str(taken)]) == 2
    assert "cannot be created as a folder" in messages()


def test_refinement_without_inversion(messages: Callable[[], str]) -> None:
    """A refinement requires an inversion."""
    assert cli.main(["evaluate", "nowhere", "--meshes", ".", "--refine"]) == 2
    assert "--refine requires --invert" in messages()


@pytest.mark.usefixtures("working_folder")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "space", "--meshes", ".", "--split", "file"], "expected a DeepSDF split"),
    ],
)
def test_malformed_split(command: list[str], message: str, messages: Callable[[], str]) -> None:
    """A file that is not a DeepSDF split is rejected."""
    assert cli.main(command) == 2
    assert message in messages()


@pytest.mark.slow
def test_protocol_of_a_space(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A protocol prints its definition and the floor; references may be points; the defaults are its own numbers."""
    table = furniture("table", 1)
    save(table, tmp_path / "meshes" / "table_0001.ply")
    points = np.asarray(trimesh.sample.sample_surface(furniture("table", 2), 600, seed=0)[0])
    np.savetxt(tmp_path / "meshes" / "table_0002.xyz", points)
    command = ["evaluate", str(space_path), "--meshes", str(tmp_path / "meshes"), "--device", "cpu", "--json"]
    small = ["--resolution", "32", "--points", "500", "--rays", "4"]
    out = tmp_path / "out"
    assert cli.main([*command, "--protocol", "hotspot", *small, "--out", str(out)]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert set(result["shapes"]) == {"table_0001", "table_0002"} and (result["samples"], result["resolution"]) == (
        500,
        32,
    )
    assert "iou" in result["shapes"]["table_0001"] and "iou" not in result["shapes"]["table_0002"]
    text = " ".join(said.err.split())
    assert "HotSpot (Wang et al. 2025)" in text and "floor: the same metric of a perfect reconstruction" in text
    assert json.loads((out / "metrics.json").read_text()) == result
    assert cli.main([*command, "--protocol", "deepsdf", *small[:4], "--scans", str(tmp_path / "meshes")]) == 0
    assert set(json.loads(capsys.readouterr().out)["shapes"]) == {"table_0001", "table_0002"}


def test_protocol_of_a_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of `reconstruct` is measured against one file of points, and its scan."""
    network = ls.ReconstructConfig(model=NetworkConfig(kind="softplus", width=8, depth=2))
    field = Reconstruction(build_network(network.model, 3, network.extent), Similarity((0.0, 0.0, 0.0), 1.0), network)
    field.save(tmp_path / "solid")
    points = oriented_sphere_points(0.5, 400)[0]
    np.savetxt(tmp_path / "truth.xyz", points)
    np.save(tmp_path / "scan.npy", points[:200])
    command = [
        "evaluate",
        str(tmp_path / "solid"),
        "--meshes",
        str(tmp_path / "truth.xyz"),
        "--device",
        "cpu",
        "--json",
    ]
    srb = ["--protocol", "srb", "--resolution", "16", "--points", "300"]
    assert cli.main([*command, *srb, "--scans", str(tmp_path / "scan.npy")]) == 0
    values = json.loads(capsys.readouterr().out)["shapes"]["result"]
    assert set(values) == {"cd_l1_half", "hausdorff", "scan_mean", "scan_max"}
    for args, message in (
        ([*srb, "--invert"], "--invert: .* holds a single field, which has no codes"),
        ([*srb, "--mode", "general"], "--mode: .* holds a single field"),
        ([*srb, "--taus", "0.1"], "--taus would have no effect: the protocol defines what is measured"),
        (["--scans", "scan.npy"], "--scans requires --protocol"),
        (["--recipe", "igr"], "--method and --recipe require --invert"),
    ):
        assert cli.main([*command, *args]) == 2
        assert re.search(message, " ".join(capsys.readouterr().err.split()))
