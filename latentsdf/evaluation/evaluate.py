"""Measure a space against meshes: extract training shapes, or invert unseen ones, and compare surfaces and fields.

All figures are in the space's model space (by default the unit sphere at radius 1/1.03), so that shapes of different
units can be averaged. `geometry.metrics` defines those of surfaces, `geometry.field_metrics` those of the fused field,
at uniform points of the box [-1, 1]^3 and against the solid that a space's samples describe (`geometry.solid`).
"""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from rich.table import Table

from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.extraction.extract import Mode
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.metrics.field import FieldErrors, compare_fields
from latentsdf.geometry.metrics.surface import (
    F_SCORE_THRESHOLDS,
    Reference,
    SurfaceComparison,
    compare_surfaces,
    require_valid_thresholds,
)
from latentsdf.latent.inversion.observation import Observation
from latentsdf.space import CodeLike, ShapeSpace
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, LatentSDFError

FIELD_POINTS = 20_000
_SHOWN = ("cd_sq_sum", "cd_l1_half", "hausdorff", "f_score", "normal_consistency", "iou", "mae", "eikonal")
"""Columns by name, or by what names start with; a floor stands beside its figure."""


@dataclass(frozen=True)
class Evaluation:
    """Figures per shape, and the shapes that could not be measured with the reason."""

    normalization: str
    """How meshes were brought to model space, in which everything is measured."""

    mode: str
    resolution: int
    points: int
    reference: Reference
    """What of the reference the samples are compared with."""
    field_points: int
    """Points at which fields are compared; 0 for no comparison."""
    seed: int
    shapes: dict[str, SurfaceComparison]
    fields: dict[str, FieldErrors]
    """Of the fused field."""
    failed: dict[str, str]

    def figures(self) -> dict[str, dict[str, float]]:
        """All figures by shape and name."""
        fields = {name: errors.as_dict() for name, errors in self.fields.items()}
        return {name: shape.as_dict() | fields.get(name, {}) for name, shape in self.shapes.items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean, median and worst of each figure; scores where more is better have their minimum as the worst."""
        rows = list(self.figures().values())
        if not rows:
            return {}
        figures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return {
            name: {"mean": float(v.mean()), "median": float(np.median(v)), "worst": float(_worst(name, v))}
            for name, v in figures.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "mode": self.mode,
            "resolution": self.resolution,
            "points": self.points,
            "reference": self.reference,
            "field_points": self.field_points,
            "seed": self.seed,
            "frame": f"model space, normalization '{self.normalization}'",
            "summary": self.summary(),
            "shapes": self.figures(),
            "failed": self.failed,
        }

    def table(self) -> Table:
        """The figures people look at first, the sampling floor beside those that have one."""
        against = "" if self.reference == "samples" else f" against {self.reference}"
        title = f"{len(self.shapes)} shapes, {self.mode}, {self.resolution}^3, {self.points:,} points{against}"
        table = Table(title=title)
        summary = self.summary()
        names = [name for shown in _SHOWN for name in summary if name.startswith(shown) and name != "hausdorff_95"]
        table.add_column("shape")
        for name in names:
            table.add_column(name + (" (floor)" if f"floor_{name}" in summary else ""), justify="right")

        def cells(row: Mapping[str, float]) -> list[str]:
            floors = {name: f" ({row[f'floor_{name}']:.2g})" for name in names if f"floor_{name}" in row}
            return [f"{row[name]:.3g}{floors.get(name, '')}" for name in names]

        for shape, row in self.figures().items():
            table.add_row(shape, *cells(row))
        count = f" of {len(self.shapes)}, {len(self.failed)} failed"
        for statistic in ("mean", "median", "worst") if summary else ():
            row = {name: values[statistic] for name, values in summary.items()}
            table.add_row(f"[bold]{statistic}[/]{count}", *cells(row))
        return table

    def worst(self, count: int) -> list[str]:
        """The shapes of the largest Chamfer distance over its floor, worst first."""
        return sorted(self.shapes, key=lambda name: -self.shapes[name].over_floor)[:count]

    def save(self, folder: Path) -> None:
        """Write `metrics.json` and `metrics.csv`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(self.as_dict(), indent=1))
        with (folder / "metrics.csv").open("w", newline="") as file:
            rows = [{"shape": name, **row} for name, row in self.figures().items()]
            if rows:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)


def evaluate(
    space: ShapeSpace,
    references: dict[str, trimesh.Trimesh],
    *,
    unseen: bool = False,
    resolution: int = 256,
    mode: Mode = "fused",
    points: int = 100_000,
    seed: int = 0,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
    field_points: int = FIELD_POINTS,
    inversion: InvertConfig | None = None,
    refinement: RefineConfig | None = None,
    fits: Mapping[str, CodeLike] | None = None,
) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
    """Compare reconstructions with reference meshes (any frame), by name.

    Training shapes (`unseen=False`) are looked up by id; unseen ones are inverted from their mesh, by codes alone, or
    by codes and delta with `refinement`; with `fits`, these are compared with the references of their names. Returns
    the figures and the reconstructions in model space; `taus`, `against`: see `geometry.metrics.compare`; without
    `field_points` fields are not compared. A shape that fails is named, not fatal. Raises ConfigError for fewer than 1
    point a side and a tau that is not between 0 and 1.
    """
    if points < 1:
        raise ConfigError(f"figures need at least 1 point a side, got {points}")
    require_valid_thresholds(taus)
    references, failed = _cleaned(references)
    if fits is None:
        codes = _codes(space, references, unseen, inversion, refinement, failed)
    else:
        alone = fits.keys() - references.keys() - failed.keys()
        failed.update({name: "no reference mesh of this name, or several" for name in alone})
        codes = {name: fit for name, fit in fits.items() if name in references}
    evaluation, reconstructions = measure(
        space,
        codes,
        references,
        resolution=resolution,
        mode=mode,
        points=points,
        seed=seed,
        taus=taus,
        against=against,
        field_points=field_points,
    )
    evaluation.failed.update(failed)
    return evaluation, reconstructions


def measure(
    space: ShapeSpace,
    codes: Mapping[str, CodeLike],
    references: Mapping[str, trimesh.Trimesh],
    *,
    resolution: int = 256,
    mode: Mode = "fused",
    points: int = 100_000,
    seed: int = 0,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
    field_points: int = 0,
) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
    """Compare what codes decode to with cleaned reference meshes of the same names; as `evaluate` returns it."""
    failed: dict[str, str] = {}
    shapes: dict[str, SurfaceComparison] = {}
    fields: dict[str, FieldErrors] = {}
    reconstructions: dict[str, trimesh.Trimesh] = {}
    with track("evaluating", total=len(codes), unit="shape") as advance:
        for name, code in codes.items():
            try:
                to_model = space.similarity(code).to_model
                mesh = space.extract(code, resolution, mode)
                mesh.vertices = to_model(mesh.vertices)
                reference = trimesh.Trimesh(to_model(references[name].vertices), references[name].faces, process=False)
                if field_points > 0:
                    fields[name] = _field_errors(space, code, reference, field_points, seed)
                shapes[name] = compare_surfaces(mesh, reference, count=points, seed=seed, taus=taus, against=against)
                reconstructions[name] = mesh
            except LatentSDFError as error:
                failed[name] = str(error)
            advance()
    how = (space.normalization, mode, resolution, points, against, field_points, seed)
    return Evaluation(*how, shapes, fields, failed), reconstructions


def _field_errors(space: ShapeSpace, code: CodeLike, reference: trimesh.Trimesh, count: int, seed: int) -> FieldErrors:
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    exact = solid_from_config(reference, SamplingConfig())(points)
    return compare_fields(space.distance(code, points), exact, space.slope(code, points))


def load_references(files: Sequence[ShapeFile]) -> tuple[dict[str, trimesh.Trimesh], dict[str, str]]:
    """Meshes by id (category/id where ids repeat), and the files that could not be read with the reason."""
    repeated = {name for name, count in Counter(file.id for file in files).items() if count > 1}
    loaded: dict[str, trimesh.Trimesh] = {}
    failed: dict[str, str] = {}
    for file in files:
        name = f"{file.category}/{file.id}" if file.id in repeated else file.id
        try:
            loaded[name] = meshes.load(file.path)
        except LatentSDFError as error:
            failed[name] = str(error)
    return loaded, failed


def _cleaned(references: dict[str, trimesh.Trimesh]) -> tuple[dict[str, trimesh.Trimesh], dict[str, str]]:
    cleaned: dict[str, trimesh.Trimesh] = {}
    failed: dict[str, str] = {}
    for name, mesh in references.items():
        try:
            cleaned[name] = meshes.clean(mesh)[0]
        except LatentSDFError as error:
            failed[name] = str(error)
    return cleaned, failed


def _codes(
    space: ShapeSpace,
    references: dict[str, trimesh.Trimesh],
    unseen: bool,
    inversion: InvertConfig | None,
    refinement: RefineConfig | None,
    failed: dict[str, str],
) -> dict[str, CodeLike]:
    if unseen:
        return _inverted(space, references, inversion, refinement, failed)
    known = set(space.ids) | set(space.keys)
    failed.update({name: "not a training shape of this space; pass --invert" for name in references.keys() - known})
    return {name: name for name in references if name in known}


def _inverted(
    space: ShapeSpace,
    references: dict[str, trimesh.Trimesh],
    inversion: InvertConfig | None,
    refinement: RefineConfig | None,
    failed: dict[str, str],
) -> dict[str, CodeLike]:
    observations: dict[str, Observation] = {}
    for name, mesh in references.items():
        try:
            observations[name] = space.observe(mesh, inversion)
        except LatentSDFError as error:
            failed[name] = str(error)
    fits = dict(zip(observations, space.invert_many(list(observations.values()), inversion), strict=True))
    if refinement is not None:
        for name in list(fits):
            try:
                fits[name] = space.refine(fits[name], references[name], refinement)
            except LatentSDFError as error:
                failed[name] = f"refining: {error}"
                del fits[name]
    return dict(fits)


def _worst(name: str, values: np.ndarray) -> float:
    more_is_better = name.startswith(("f_score", "normal_consistency", "iou"))
    return float(values.min() if more_is_better else values.max())
