"""`latentsdf import`: exported files, damaged shapes and point clouds."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.points import oriented_sphere_points

from latentsdf import cli
from latentsdf.data.import_export import export_samples
from latentsdf.data.store import SampleStore


@pytest.fixture
def exported(lamp_store: SampleStore, tmp_path: Path) -> Path:
    """HDF5 file of two shapes of `lamp_store`."""
    path = tmp_path / "s.h5"
    assert export_samples(lamp_store, path, ["b.1", "lamp/a"], "lzf") == ["lamp/b.1", "lamp/a"]
    return path


def test_exported_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All shapes of an exported file are imported and pass verification; a second import skips them."""
    out = tmp_path / "t.zarr"
    assert cli.main(["import", str(exported), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imported"] == ["lamp/a", "lamp/b.1"]
    assert cli.main(["info", str(out), "--verify"]) == 0
    capsys.readouterr()
    assert cli.main(["import", str(exported), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": str(out), "imported": [], "present": 2, "failed": {}}


def test_damaged_shapes(exported: Path, tmp_path: Path, messages: Callable[[], str]) -> None:
    """A damaged shape is reported and skipped; the import fails if every shape is damaged."""
    with h5py.File(exported, "a") as file:
        del file["lamp"]["a"]["near"]
    assert cli.main(["import", str(exported), str(tmp_path / "t.zarr")]) == 0
    assert "1 imported, 0 already present, 1 failed" in messages()
    with h5py.File(exported, "a") as file:
        del file["lamp"]["b.1"]["near"]
    assert cli.main(["import", str(exported), str(tmp_path / "u.zarr")]) == 2
    assert "no shape could be imported; see the reasons above" in messages()


def test_selected_point_clouds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Point clouds are selected by category and wildcard pattern."""
    for name in ("ball/a", "ball/b", "other/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savetxt(tmp_path / f"{name}.xyz", oriented_sphere_points(0.5)[0])
    args = ["import", str(tmp_path), str(tmp_path / "balls.zarr"), "--category", "ball", "--glob", "a*", "--json"]
    assert cli.main(args) == 0
    assert json.loads(capsys.readouterr().out)["imported"] == ["ball/a"]
