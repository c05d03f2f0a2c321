"""`latentsdf extract`: several shapes, and references to shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

import latentsdf as ls
from latentsdf import cli
from latentsdf.space import ShapeSpace


@pytest.mark.slow
def test_several_shapes(
    space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several shapes are written into a folder; one that fails is reported and skipped."""
    out = tmp_path / "meshes"
    args = ["extract", str(space_path), "--out", str(out), "--resolution", "32", "--device", "cpu", "--json"]
    space = ls.load(space_path, "cpu")
    ids, decode = space.ids, ShapeSpace.extract

    def but_one(self: ShapeSpace, shape: str, *rest: object, **named: object) -> trimesh.Trimesh:
        if shape == ids[1]:
            raise ls.EmptyLevelSetError("no surface")
        return decode(self, shape, *rest, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ShapeSpace, "extract", but_one)
        assert cli.main([*args, "--all"]) == 0
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert report["failed"] == {ids[1]: "no surface"} and ids[1] in said.err
        assert sorted(path.name for path in out.iterdir()) == sorted(f"{i}.ply" for i in ids if i != ids[1])
        assert cli.main([*args, "--id", ids[1], ids[1]]) == 1
        capsys.readouterr()
    assert cli.main([*args, "--all", "--resume"]) == 0
    assert list(json.loads(capsys.readouterr().out)["meshes"]) == [str(out / f"{ids[1]}.ply")]
    alone = trimesh.load(out / f"{ids[0]}.ply", process=False)
    assert np.allclose(alone.vertices, space.extract(ids[0], 32).vertices, atol=1e-6)
    assert cli.main([*args, "--id", *ids[:2], "--suffix", ".png"]) == 2
    assert "cannot write '.png'" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*args, "--id", *ids[:2], "--suffix", "ply"]) == 2
    assert "expected a suffix with its dot" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*args, "--all", "--out", str(tmp_path / "x.ply")]) == 2
    assert "several shapes are written to a folder" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*args, "--id", ids[0], "--resume"]) == 2
    assert "--resume requires several shapes" in " ".join(capsys.readouterr().err.split())
    assert cli.main([*args, "--id", ids[0], "nobody"]) == 2 and "no training shape 'nobody'" in capsys.readouterr().err


def test_conflicting_arguments(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file instead of a folder and two shapes instead of one are errors."""
    (tmp_path / "taken").write_text("a file")
    shape = [str(space_path), "--id", "table_0000", "--device", "cpu"]
    out = ["--resolution", "16", "--out", str(tmp_path / "taken" / "x.ply")]
    assert cli.main(["extract", *shape, *out]) == 2
    assert "taken" in capsys.readouterr().err
    for verb, other in (("extract", "--code"), ("render", "--mesh"), ("retrieve", "--mesh")):
        with pytest.raises(SystemExit, match="2"):
            cli.main([verb, *shape, other, "x.ply", "--out", str(tmp_path / "x.png")])
        assert "not allowed with argument --id" in capsys.readouterr().err
    (tmp_path / "report.json").write_text('{"points": "cloud.npy"}')
    assert cli.main(["extract", str(space_path), "--code", str(tmp_path), "--out", str(tmp_path / "x.ply")]) == 2
    assert "not a folder written by latentsdf invert" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_volume_file(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A suffix of a volume writes the distances on the lattice; options of meshes are refused, and so is no shape."""
    out = tmp_path / "a.npz"
    args = ["extract", str(space_path), "--device", "cpu", "--resolution", "16", "--out", str(out), "--json"]
    assert cli.main([*args, "--id", "table_0000"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == out.stat().st_size
    with np.load(out) as file:
        assert file["distance"].shape == (17, 17, 17)
    assert cli.main([*args, "--id", "table_0000", "--normals"]) == 2
    assert "apply to meshes only" in " ".join(capsys.readouterr().err.split())
    assert cli.main(args) == 2
    assert "holds one shape" in " ".join(capsys.readouterr().err.split())
