"""Summary, ranking and files of an evaluation, from known values."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from latentsdf.evaluation.result import Evaluation
from latentsdf.geometry.metrics.field import FieldErrors
from latentsdf.geometry.metrics.surface import SurfaceComparison


def _evaluation() -> Evaluation:
    import trimesh

    from latentsdf.geometry.metrics.surface import compare_surfaces

    reference = trimesh.creation.icosphere(3, 0.5)
    shapes: dict[str, SurfaceComparison] = {
        name: compare_surfaces(trimesh.creation.icosphere(3, radius), reference, count=500)
        for name, radius in (("near", 0.52), ("far", 0.7), ("middle", 0.55))
    }
    return Evaluation("sphere", "fused", 64, 500, "samples", 0, 0, shapes, {}, {"broken": "no faces"})


def test_summary() -> None:
    """Mean, median and worst are over the shapes; the worst is the minimum where higher is better."""
    evaluation = _evaluation()
    rows, summary = evaluation.figures(), evaluation.summary()
    distances = [row["cd_l1_half"] for row in rows.values()]
    assert summary["cd_l1_half"]["mean"] == pytest.approx(sum(distances) / 3)
    assert summary["cd_l1_half"]["median"] == rows["middle"]["cd_l1_half"]
    assert summary["cd_l1_half"]["worst"] == rows["far"]["cd_l1_half"]
    assert summary["f_score_0.01"]["worst"] == min(row["f_score_0.01"] for row in rows.values())
    assert replace(evaluation, shapes={}).summary() == {}


def test_worst_shapes() -> None:
    """Shapes are ranked by their mean distance to triangles, largest first."""
    assert _evaluation().worst(2) == ["far", "middle"]


def test_files(tmp_path: Path) -> None:
    """JSON holds settings, metrics and failures, CSV one line per shape; without shapes it is empty."""
    evaluation = _evaluation()
    evaluation.save(tmp_path / "new")
    saved = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert saved == evaluation.as_dict() and saved["failed"] == {"broken": "no faces"}
    assert saved["frame"] == "model space, normalization 'sphere'"
    with (tmp_path / "new" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["shape"] for row in rows] == ["near", "far", "middle"]
    assert float(rows[1]["cd_l1_half"]) == evaluation.figures()["far"]["cd_l1_half"]
    replace(evaluation, shapes={}).save(tmp_path)
    assert (tmp_path / "metrics.csv").read_text() == ""


def test_table() -> None:
    """The table has a row per shape and three of statistics, with floors in parentheses."""
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in _evaluation().table().columns}
    assert columns["shape"][:3] == ["near", "far", "middle"]
    assert columns["shape"][3] == "[bold]mean[/] of 3, 1 failed" and len(columns["shape"]) == 6
    assert "(" in columns["cd sq sum (floor)"][0] and "iou" not in columns


def test_field_columns() -> None:
    """Field errors are listed with the surface metrics of their shape."""
    import numpy as np

    from latentsdf.geometry.metrics.field import compare_fields

    exact = np.linspace(-0.2, 0.2, 50)
    errors: FieldErrors = compare_fields(exact + 0.01, exact, np.ones(50))
    evaluation = _evaluation()
    one = replace(evaluation, shapes={"near": evaluation.shapes["near"]}, fields={"near": errors}, field_points=50)
    assert one.figures()["near"]["mae"] == pytest.approx(0.01, rel=1e-3)
    assert "mae" in [str(column.header) for column in one.table().columns]
