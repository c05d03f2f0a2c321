"""`latentsdf invert`: several targets, failures, and older fits in the folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.files import files_of, renew_manifest

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.furniture import furniture
from latentsdf.geometry.mesh import save
from latentsdf.space import ShapeSpace

QUICK = ["--steps", "3", "--starts", "2", "--points", "256", "--resolution", "32", "--device", "cpu", "--json"]


@pytest.mark.slow
def test_several_targets(trained_space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several targets are fitted together; a fit of another space is rejected."""
    names = ("table_0000", "table_0002")
    for seed, name in zip((0, 2), names, strict=True):
        points = furniture("table", seed).sample(2000)
        np.save(tmp_path / f"{name}.npy", points)
    files = [str(tmp_path / f"{name}.npy") for name in names]
    few = ["--steps", "8", "--starts", "2", "--points", "512", "--resolution", "32", "--device", "cpu"]
    assert cli.main(["invert", str(trained_space_path), *files, "--out", str(tmp_path / "fits"), *few, "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [reports[name]["nearest"]["ids"][0] for name in names] == list(names)
    np.save(tmp_path / "line.npy", np.linspace(0, 1, 100)[:, None] * np.ones(3))
    line = str(tmp_path / "line.npy")
    some = ["invert", str(trained_space_path), line, files[1], "--out", str(tmp_path / "some"), *few, "--json"]
    assert cli.main(some) == 0
    reports = json.loads(capsys.readouterr().out)
    assert "line" in reports["line"]["failed"] and reports[names[1]]["ok"]
    assert cli.main(["invert", str(trained_space_path), line, "--out", str(tmp_path / "none"), *few]) == 2
    fit = tmp_path / "fits" / names[0]
    listing = json.loads((fit / "report.json").read_text())
    (fit / "report.json").write_text(json.dumps({**listing, "space": "elsewhere"}))
    renew_manifest(fit)
    extract = [
        "extract",
        str(trained_space_path),
        "--code",
        str(fit),
        "--out",
        str(tmp_path / "x.ply"),
        "--device",
        "cpu",
    ]
    assert cli.main(extract) == 2 and "expected a fit of this space" in " ".join(capsys.readouterr().err.split())
    assert cli.main(["invert", str(trained_space_path), files[0], files[0], "--out", str(tmp_path / "y"), *few]) == 2


@pytest.mark.slow
def test_failed_targets(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Targets that fail are reported, and the others are written."""
    good, other, line = tmp_path / "good.npy", tmp_path / "other.npy", tmp_path / "line.npy"
    np.save(good, furniture("table", 0).sample(500))
    np.save(other, furniture("table", 2).sample(500))
    np.save(line, np.linspace(0, 1, 200)[:, None] * np.ones(3))
    (tmp_path / "empty.obj").touch()
    bad = [str(tmp_path / name) for name in ("empty.obj", "missing.ply", "line.npy")]
    out = tmp_path / "fits"
    assert (
        cli.main(["invert", str(space_path), bad[0], str(good), *bad[1:], str(other), "--out", str(out), *QUICK]) == 0
    )
    said = capsys.readouterr()
    reports = json.loads(said.out)
    assert list(reports) == ["empty", "good", "missing", "line", "other"]
    assert reports["empty"]["failed"] == "the file is empty" and reports["missing"]["failed"] == "no such file"
    assert reports["line"]["failed"].startswith("all points lie on a line")
    assert "failed missing.ply: no such file" in said.err
    assert sorted(folder.name for folder in out.iterdir()) == ["good", "other"]
    assert (out / "good" / "mesh.ply").is_file() and (out / "other" / "code.npy").is_file()
    assert cli.main(["invert", str(space_path), *bad, "--out", str(out), *QUICK]) == 1
    assert {tuple(report) for report in json.loads(capsys.readouterr().out).values()} == {("failed",)}


@pytest.mark.slow
def test_failed_refinements(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only meshes are refined; a refinement that fails does not affect other targets."""

    def refine(self: ShapeSpace, fit: ls.Inversion, mesh: trimesh.Trimesh, _: ls.RefineConfig) -> ls.Inversion:
        assert isinstance(self, ShapeSpace)
        if len(mesh.faces) == 12:
            raise ls.MeshError("no band")
        return fit

    monkeypatch.setattr(ShapeSpace, "refine", refine)
    np.save(tmp_path / "cloud.npy", furniture("table", 0).sample(500))
    save(trimesh.creation.box((1, 1, 1)), tmp_path / "box.ply")
    save(furniture("table", 2), tmp_path / "table.ply")
    targets = [str(tmp_path / name) for name in ("box.ply", "cloud.npy", "table.ply")]
    invert = ["invert", str(space_path), *targets, "--out", str(tmp_path / "fits"), "--refine", *QUICK]
    assert cli.main(invert) == 0
    reports = json.loads(capsys.readouterr().out)
    assert reports["box"] == {"failed": "no band"}
    assert reports["cloud"]["failed"].startswith("refinement needs distances all around a surface")
    assert (tmp_path / "fits" / "table" / "mesh.ply").is_file() and "nearest" in reports["table"]


@pytest.mark.slow
def test_older_fit_in_folder(
    space_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older fit stays until the new one is complete, and its replacement is reported."""
    np.save(tmp_path / "cloud.npy", furniture("table", 0).sample(500))
    fit = tmp_path / "fit"
    invert = ["invert", str(space_path), str(tmp_path / "cloud.npy"), "--out", str(fit), *QUICK]
    assert cli.main(invert) == 0
    assert "replaced" not in capsys.readouterr().err
    assert cli.main(invert) == 0
    assert f"replaced the earlier fit in {fit}" in " ".join(capsys.readouterr().err.split())
    before = files_of(fit)
    assert {"code.npy", "layers.npy", "mesh.ply", "report.json", "manifest.json"} == set(before)

    def fail(error: ls.LatentSDFError) -> None:
        def extract(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(ShapeSpace, "extract", extract)
        assert cli.main([*invert, "--seed", "1", "--one-code"]) == 2

    fail(ls.LatentSDFError("the field is not finite"))
    assert files_of(fit) == before
    fail(ls.EmptyLevelSetError("no surface"))
    after = files_of(fit)
    assert set(after) == {"code.npy", "report.json", "manifest.json"} and after["code.npy"] != before["code.npy"]


@pytest.mark.slow
def test_published_inversion(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A published inversion states whose numbers it uses, and fits a single code."""
    save(furniture("table", 2), tmp_path / "table.ply")
    command = ["invert", str(space_path), str(tmp_path / "table.ply"), "--out", str(tmp_path / "fit")]
    small = ["--resolution", "32", "--device", "cpu", "--json"]
    adam = ["--method", "adam", "--steps", "4", "--points", "200", "--prior", "0.5"]
    assert cli.main([*command, *adam, "--recipe", "deepsdf", *small]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert len(report["history"]) == 4 and not report["by_layer"]
    assert "adam as deepsdf: 4 steps at 0.005, the second half at 0.0005, 200 points per step" in said.err
    assert ls.load_fit(tmp_path / "fit").layers is None
    assert cli.main([*command, "--recipe", "igr"]) == 2
    assert "also pass --method adam" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*command, *adam, "--starts", "2", *small]) == 2
    assert "published inversions have one start" in " ".join(capsys.readouterr().err.split())
