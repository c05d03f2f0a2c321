"""Evaluation of a space against meshes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.settings import FIT, REFINEMENT

import latentsdf as ls
from latentsdf.config.inversion import RefineConfig
from latentsdf.data.furniture import furniture
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.evaluation.evaluate import evaluate, load_references
from latentsdf.geometry.mesh import normalize, save
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace


@pytest.mark.slow
def test_field_errors(trained_space: ShapeSpace) -> None:
    """Field errors equal those against exact mesh distances; metrics, floors and the table follow the options."""
    references = {"table_0001": furniture("table", 1), "other": furniture("table", 9)}
    evaluation, _ = evaluate(trained_space, references, resolution=32, points=2000, taus=(0.05,), against="vertices")
    errors, figures = evaluation.fields["table_0001"], evaluation.figures()["table_0001"]
    reference = normalize(references["table_0001"], trained_space.normalization)[0]
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    exact = MeshDistance(reference)(points)
    near, found = np.abs(exact) <= 0.1, trained_space.distance("table_0001", points, frame="model")
    assert errors.mae == pytest.approx(np.abs(found - exact).mean(), rel=0.02)
    assert errors.near_mae == pytest.approx(np.abs(found - exact)[near].mean(), rel=0.02)
    assert errors.iou > 0.8 and errors.near_mae < 0.01
    assert figures["floor_cd_l1_half"] > 0.05  # a table has few vertices
    assert set(figures) > {"eikonal", "near_eikonal", "smape", "hausdorff_95", "floor_hausdorff"}
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in evaluation.table().columns}
    assert columns["cd sq sum (floor)"][0] == f"{figures['cd_sq_sum']:.3g} ({figures['floor_cd_sq_sum']:.2g})"
    assert columns["shape"][1] == "[bold]mean[/] of 1, 1 failed" and "f score 0.05" in columns
    assert "against vertices" in str(evaluation.table().title)
    plain, _ = evaluate(trained_space, references, resolution=32, points=2000, field_points=0)
    assert not plain.fields and "iou" not in plain.summary()


def test_names_of_references(tmp_path: Path) -> None:
    """References have the name of their category if their id occurs in several, of the files or the training shapes."""
    files = []
    for key in ("chair/a", "table/a", "chair/b", "chair/c"):
        category, _, id = key.partition("/")
        files.append(ShapeFile(category, id, tmp_path / f"{category}_{id}.ply"))
        save(trimesh.creation.box(), files[-1].path)
    assert list(load_references(files)[0]) == ["chair/a", "table/a", "b", "c"]
    assert list(load_references(files[1:], ("table/a", "chair/a", "lamp/b"))[0]) == ["table/a", "b", "c"]


def test_too_few_points(space: ShapeSpace) -> None:
    """Metrics need at least one surface sample."""
    with pytest.raises(ls.ConfigError, match="points must be at least 1, got 0"):
        evaluate(space, {}, points=0)


@pytest.mark.slow
def test_failed_refinement(trained_space: ShapeSpace, unseen: trimesh.Trimesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refinement that fails is recorded with its reason; other shapes are measured."""

    def fail(fit: Inversion, mesh: trimesh.Trimesh, _: RefineConfig) -> Inversion:
        if len(mesh.faces) == len(unseen.faces):
            raise ls.MeshError("no band")
        return fit

    monkeypatch.setattr(trained_space, "refine", fail)
    references = {"bad": unseen, "good": trimesh.creation.box((1, 1, 1))}
    result, _ = evaluate(
        trained_space, references, unseen=True, resolution=32, points=500, inversion=FIT, refinement=REFINEMENT
    )
    assert result.failed == {"bad": "refining: no band"} and set(result.shapes) == {"good"}


def test_method_of_a_space(space: ShapeSpace) -> None:
    """`space.evaluate` returns the metrics and meshes of `latentsdf.evaluate`."""
    references = {"table_0001": furniture("table", 1)}
    options = {"resolution": 16, "points": 200, "field_points": 0}
    found, meshes = space.evaluate(references, **options)
    wanted, _ = ls.evaluate(space, references, **options)
    assert found.figures() == wanted.figures() and list(meshes) == ["table_0001"]
