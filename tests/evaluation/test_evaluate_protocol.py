"""Evaluation of spaces and of single fields by published protocols."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from helpers.points import write_disk_truth
from helpers.settings import FIT
from scipy.spatial import cKDTree

import latentsdf as ls
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.data.furniture import furniture
from latentsdf.evaluation.evaluate_protocol import evaluate_protocol
from latentsdf.evaluation.protocols import PROTOCOLS, ProtocolName
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.planar import load_truth, measure_planar
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.space import ShapeSpace

SMALL: dict[str, Any] = {"resolution": 32, "samples": 500, "rays": 8}


class _Ball(torch.nn.Module):
    """|x| - 0.6."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.6))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


@pytest.fixture
def field() -> Reconstruction:
    """Ball of radius 1.2 around (3, 0, 0)."""
    return Reconstruction(_Ball(), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig(extent=1.3))


@pytest.fixture
def ball() -> trimesh.Trimesh:
    """Its surface."""
    mesh = trimesh.creation.icosphere(4, 1.2)
    mesh.apply_translation((3.0, 0.0, 0.0))
    return mesh


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_single_field(protocol: ProtocolName, field: Reconstruction, ball: trimesh.Trimesh) -> None:
    """A perfect field reaches the floor of every protocol, and the definition names every metric."""
    scan = np.asarray(ball.vertices)[::4]
    found = evaluate_protocol(field, ball, protocol, scans=scan, resolution=128, samples=3000, rays=8)
    (values,), (floors,) = found.shapes.values(), found.floors.values()
    for name in floors:
        assert values[name] == pytest.approx(floors[name], rel=0.15), name
    lines = {line.partition(":")[0]: line for line in found.definition}
    assert set(values) <= set(lines) and "floor" in lines and "frame" in lines
    assert f"128 cells per axis (published: {PROTOCOLS[protocol].resolution})" in lines["surface"]
    assert any(f"3,000 (published: {PROTOCOLS[protocol].samples:,}) samples" in line for line in found.definition)
    assert "not measured" not in lines
    for name, exact in {"iou": 1.0, "rmse": 0.0, "near_rmse": 0.0, "normal_error": 0.0, "eikonal": 0.0}.items():
        assert values.get(name, exact) == pytest.approx(exact, abs=0.01)


def test_own_units(field: Reconstruction, ball: trimesh.Trimesh) -> None:
    """DeepSDF's distances are in the units of the reference, whatever the scale of model space."""
    small = ball.copy()
    small.vertices = (ball.vertices - [3.0, 0.0, 0.0]) / 1.2 + [3.0, 0.0, 0.0]
    found = evaluate_protocol(field, small, "deepsdf", resolution=64, samples=20_000).shapes["result"]
    assert found["cd_sq_sum"] == pytest.approx(2 * 0.2**2, rel=0.02)


def test_cloud_as_reference(field: Reconstruction, ball: trimesh.Trimesh, tmp_path: Path) -> None:
    """Ground truth of points, from a file, has no inside; the metrics that need one are left out and named."""
    points = np.asarray(trimesh.sample.sample_surface(ball, 4000, seed=5)[0])
    np.savetxt(tmp_path / "truth.xyz", points)
    found = evaluate_protocol(field, tmp_path / "truth.xyz", "srb", resolution=64, samples=4000)
    assert set(found.shapes["result"]) == {"cd_l1_half", "hausdorff"}
    assert found.shapes["result"]["cd_l1_half"] == pytest.approx(found.floors["result"]["cd_l1_half"], rel=0.05)
    assert any(line.startswith("not measured: scan_mean, scan_max") for line in found.definition)
    assert any("the 4,000 points of the reference" in line for line in found.definition)
    medial = evaluate_protocol(field, points, "medial_axis", resolution=32, samples=500)
    assert set(medial.shapes["result"]) == {"cd_l1_sum", "hausdorff", "eikonal"}


def test_planar_field(tmp_path: Path) -> None:
    """HotSpot's planar metrics are those of `measure_planar`; other protocols refuse planar fields."""
    truth = load_truth(write_disk_truth(tmp_path / "disk.npz"))
    field = Reconstruction(_Ball(), Similarity((0.3, 0.0), 1.5), ReconstructConfig(extent=3.0))
    found = evaluate_protocol(field, truth, "hotspot")
    accuracy = measure_planar(field, truth)
    values, floors = found.shapes["result"], found.floors["result"]
    assert (values["iou"], values["cd_l1_half"]) == (accuracy.field.iou, accuracy.curve.cd_l1_half)
    assert floors["hausdorff"] == accuracy.floor.hausdorff
    with pytest.raises(ls.MeshError, match="a planar field is evaluated by 'hotspot'"):
        evaluate_protocol(field, truth, "srb")
    with pytest.raises(ls.MeshError, match="compared with exact distances .*, got"):
        evaluate_protocol(field, np.zeros((200, 2)), "hotspot")


def test_invalid_arguments(field: Reconstruction, ball: trimesh.Trimesh, space: ShapeSpace) -> None:
    """Options of spaces, unknown protocols and references in another form are refused."""
    for options, message in (
        ({"unseen": True, "mode": "general"}, "unseen and mode: a single field has no codes"),
        ({"resolution": 15}, "resolution"),
        ({"samples": 0}, "samples must be at least 1"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            evaluate_protocol(field, ball, "srb", **options)
    with pytest.raises(ls.ConfigError, match="protocol: expected one of 'compact_sdf', "):
        evaluate_protocol(field, ball, "chamfer")  # type: ignore[arg-type]
    with pytest.raises(ls.ConfigError, match="references must be shapes by name"):
        evaluate_protocol(space, ball, "srb")
    with pytest.raises(ls.ConfigError, match="scans must be shapes by name"):
        evaluate_protocol(space, {"a": ball}, "srb", scans=ball)
    with pytest.raises(ls.MeshError, match="expected a reference in space, got planar points"):
        evaluate_protocol(field, np.random.default_rng(0).normal(size=(200, 2)), "srb")


@pytest.mark.slow
def test_space(space: ShapeSpace, tmp_path: Path) -> None:
    """Training shapes and fits are measured in their own frames; shapes that fail are listed; files hold all values."""
    table, other = furniture("table", 1), furniture("table", 9)
    table.vertices = 3 * table.vertices + 5
    references = {"table_0001": furniture("table", 1), "other": other, "missing": tmp_path / "missing.ply"}
    found = evaluate_protocol(space, references, "deepsdf", **SMALL)
    assert set(found.shapes) == {"table_0001"} and set(found.failed) == {"other", "missing"}
    mesh = space.extract("table_0001", 32, smallest_piece=0.0)
    samples, targets = (
        np.asarray(trimesh.sample.sample_surface(one, 500, seed=seed)[0])
        for one, seed in ((mesh, 0), (references["table_0001"], 1))
    )
    a, b = cKDTree(targets).query(samples)[0], cKDTree(samples).query(targets)[0]
    assert found.shapes["table_0001"]["cd_sq_sum"] == pytest.approx(np.square(a).mean() + np.square(b).mean(), rel=0.3)
    # A fit of a larger copy has larger distances in its own units, and equal ones in model space.
    fit, small = (space.invert(mesh, FIT) for mesh in (table, references["table_0001"]))
    pairs: tuple[tuple[ProtocolName, float], ...] = (("compact_sdf", 1.0), ("deepsdf", 9.0))
    for protocol, ratio in pairs:
        pair = [
            evaluate_protocol(space, {"a": mesh}, protocol, fits={"a": one, "b": one}, **SMALL)
            for mesh, one in ((table, fit), (references["table_0001"], small))
        ]
        assert pair[0].shapes["a"]["cd_sq_sum"] == pytest.approx(ratio * pair[1].shapes["a"]["cd_sq_sum"], rel=0.1)
    assert pair[0].failed == {"b": "no reference of this name"}
    pair[0].save(tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["protocol"] == "deepsdf" and stored["shapes"]["a"] == pair[0].shapes["a"]
    header, line = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    row = dict(zip(header.split(","), line.split(","), strict=True))
    assert float(row["cd_sq_sum"]) == pair[0].shapes["a"]["cd_sq_sum"]
    assert float(row["floor_cd_sq_sum"]) == pair[0].floors["a"]["cd_sq_sum"]
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in pair[0].table().columns}
    assert columns["shape"] == ["a", "[bold]mean[/]", "[bold]median[/]", "[bold]std[/]"]
    assert columns["cd sq sum (floor)"][-1] == "0" and "(" in columns["cd sq sum (floor)"][0]


@pytest.mark.slow
def test_fits_to_scans(space: ShapeSpace) -> None:
    """Unseen shapes are fitted to their scans, and measured against the ground truth and the scan."""
    table = furniture("table", 1)
    scan = np.asarray(trimesh.sample.sample_surface(table, 2000, seed=0)[0])
    truth = np.asarray(trimesh.sample.sample_surface(table, 3000, seed=1)[0])
    options: dict[str, Any] = {"unseen": True, "inversion": FIT, "resolution": 64, "samples": 3000}
    found = evaluate_protocol(space, {"t": truth}, "srb", scans={"t": scan, "unused": scan}, **options)
    values = found.shapes["t"]
    assert values["scan_mean"] == pytest.approx(values["cd_l1_half"], rel=0.5) and not found.failed
    assert values["cd_l1_half"] < 0.1 and values["scan_max"] >= values["scan_mean"]
