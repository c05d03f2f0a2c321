"""Files of a reconstruction written by the library, and their exchange with the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.files import files_of
from helpers.points import circle_points, write_disk_truth
from helpers.settings import short_preset

import latentsdf as ls
from latentsdf.cli.main import main
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.planar import load_truth
from latentsdf.reconstruction.report import RESULT_FILES, write_results
from latentsdf.reconstruction.result import FIELD_FILES, Reconstruction
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError

FIELD = (*FIELD_FILES, "manifest.json")


class _Ball(torch.nn.Module):
    """|x| - r."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(radius))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


def _solid(radius: float = 0.6) -> Reconstruction:
    return Reconstruction(_Ball(radius), Similarity((0.0, 0.0, 0.0), 1.0), ReconstructConfig())


@pytest.mark.slow
def test_files_of_solid(tmp_path: Path) -> None:
    """A 3D field has a closed mesh, three slices, a tracing image and a report with its accuracy."""
    truth = trimesh.creation.icosphere(4, 0.6)
    report = write_results(_solid(), tmp_path / "out", resolution=64, truth=truth, source="ball")
    assert set(files_of(tmp_path / "out")) == {
        *FIELD,
        "mesh.ply",
        "slice_x.png",
        "slice_y.png",
        "slice_z.png",
        "steps.png",
        "report.json",
    }
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(report))
    assert list(report) == ["points", "method", "last", "tracing", "accuracy"]
    assert report["accuracy"]["field"]["iou"] > 0.98 and report["points"] == "ball"
    assert trimesh.load(tmp_path / "out" / "mesh.ply").is_watertight


def test_files_of_curve(tmp_path: Path) -> None:
    """A 2D field has contours, a slice and a report with its accuracy."""
    truth = load_truth(write_disk_truth(tmp_path / "disk.npz"))
    disk = Reconstruction(_Ball(0.5), Similarity((0.3, 0.0), 1.0), ReconstructConfig(extent=3.0))
    report = write_results(disk, tmp_path / "out", resolution=32, truth=truth)
    assert set(files_of(tmp_path / "out")) == {*FIELD, "contours.json", "slice.png", "report.json"}
    assert report["accuracy"]["field"]["iou"] == pytest.approx(1) and "points" not in report
    (line,) = json.loads((tmp_path / "out" / "contours.json").read_text())
    assert np.abs(np.linalg.norm(np.array(line) - [0.3, 0], axis=1) - 0.5).max() < 0.01
    with pytest.raises(ConfigError, match="ground truth of a 3D field is a mesh"):
        write_results(_solid(), tmp_path / "out", truth=truth)


def test_field_without_surface(tmp_path: Path) -> None:
    """Images and the report are written before the missing surface raises."""
    with pytest.raises(EmptyLevelSetError):
        write_results(_solid(-0.5), tmp_path, resolution=16)
    written = {"slice_x.png", "slice_y.png", "slice_z.png", "steps.png", "report.json"}
    assert set(files_of(tmp_path)) == {*FIELD, *written}


def test_replaced_results(tmp_path: Path) -> None:
    """All files of an earlier reconstruction are replaced or removed, others are kept; other folders are refused."""
    for name in (*RESULT_FILES, "notes.txt"):
        (tmp_path / name).touch()
    _solid().save(tmp_path)
    assert set(files_of(tmp_path)) == {*FIELD, "notes.txt"}
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match="holds a trained space"):
        write_results(_solid(), tmp_path, resolution=16)
    assert set(files_of(tmp_path)) == {*FIELD, "notes.txt", "model.safetensors"}


@pytest.mark.slow
def test_exchange_with_command(tmp_path: Path) -> None:
    """Python reads what the command wrote; the command takes the configuration of a field that Python saved.

    With the same points and settings, both write the same files.
    """
    points = circle_points(300, 1.0)
    np.save(tmp_path / "points.npy", points)
    result = ls.reconstruct(points, config=short_preset("igr", steps=20))
    write_results(result, tmp_path / "python", resolution=16, source=str(tmp_path / "points.npy"))
    words = ["reconstruct", str(tmp_path / "points.npy"), "--config", str(tmp_path / "python" / "config.yaml")]
    assert main([*words, "--out", str(tmp_path / "command"), "--resolution", "16"]) == 0
    loaded = ls.load_field(tmp_path / "command")
    probes = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    assert np.array_equal(loaded.distance(probes), result.distance(probes)) and loaded.config == result.config
    ours, theirs = files_of(tmp_path / "python"), files_of(tmp_path / "command")
    assert ours.keys() == theirs.keys()
    timed = {"field.json", "report.json", "manifest.json"}  # these hold seconds
    assert {name: ours[name] for name in ours.keys() - timed} == {name: theirs[name] for name in ours.keys() - timed}
