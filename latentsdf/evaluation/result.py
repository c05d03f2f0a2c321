"""Result of an evaluation: metrics per shape, with their summary, as a table, JSON or CSV."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from latentsdf.config.arguments import check_arguments
from latentsdf.config.validation import NonNegativeInt
from latentsdf.geometry.metrics.field import FieldErrors
from latentsdf.geometry.metrics.surface import Reference, SurfaceComparison
from latentsdf.utils.atomic_files import atomic_write, full_disk_named
from latentsdf.utils.notebook import html_table

_SHOWN = (
    "triangle_mean",
    "f_score",
    "missing",
    "debris",
    "pieces",
    "reference_pieces",
    "normal_consistency",
    "cd_sq_sum",
    "iou",
    "mae",
    "eikonal",
)
"""Metrics in the table, by name or by the start of their names; each is followed by its sampling floor, if any."""
_OVERVIEW = 4  # number of entries of `_SHOWN` in the short description
_HIGHER_IS_BETTER = ("f_score", "precision", "recall", "normal_consistency", "iou")


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Metrics of reconstructed shapes in model space, and the shapes that could not be evaluated."""

    normalization: str
    """Normalization that maps meshes to model space: sphere, cube or none."""
    mode: str
    """Extraction mode of the surfaces."""
    resolution: int
    """Cells per axis of the extraction."""
    points: int
    """Number of surface samples per mesh."""
    reference: Reference
    """Points of the reference meshes that are compared: samples or vertices."""
    field_points: int
    """Number of points at which fields are compared; 0 for no comparison."""
    seed: int
    """Seed of the samples."""
    shapes: dict[str, SurfaceComparison]
    """Surface metrics by name of the shape."""
    fields: dict[str, FieldErrors]
    """Errors of the fused field by name of the shape; empty without a comparison of fields."""
    failed: dict[str, str]
    """Reasons for the shapes that could not be evaluated, by name."""

    def __repr__(self) -> str:
        return f"<Evaluation: {', '.join(f'{name} {value}' for name, value in self._overview().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks; `table` has all shapes."""
        return html_table("Evaluation", self._overview())

    def _overview(self) -> dict[str, object]:
        """Return counts, settings and the medians of the metrics that `table` shows first."""
        summary = self.summary()
        shown = [name for name in summary if name.startswith(_SHOWN[:_OVERVIEW])]
        return {
            "shapes": len(self.shapes),
            "failed": len(self.failed),
            "mode": self.mode,
            "resolution": self.resolution,
        } | {f"median {name}": f"{summary[name]['median']:.4g}" for name in shown}

    def figures(self) -> dict[str, dict[str, float]]:
        """Return all metrics by shape and name of the metric."""
        fields = {name: errors.as_dict() for name, errors in self.fields.items()}
        return {name: shape.as_dict() | fields.get(name, {}) for name, shape in self.shapes.items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """Return the mean, median and worst value of each metric over the shapes.

        The worst value is the minimum of F-scores, precision, recall, normal consistency and IoU, and the maximum of
        all others.

        Returns:
            Statistics by name of the metric, with the keys `mean`, `median` and `worst`; empty without shapes.
        """
        rows = list(self.figures().values())
        if not rows:
            return {}
        figures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return {
            name: {"mean": float(v.mean()), "median": float(np.median(v)), "worst": float(_worst(name, v))}
            for name, v in figures.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the settings, summary, metrics and failures as JSON types."""
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
        """Return a table of the most common metrics and their summary, with sampling floors in parentheses."""
        against = "" if self.reference == "samples" else f" against {self.reference}"
        title = f"{len(self.shapes)} shapes, {self.mode}, {self.resolution}^3, {self.points:,} points{against}"
        table = Table(title=title)
        summary = self.summary()
        names = [name for shown in _SHOWN for name in summary if name.startswith(shown)]
        table.add_column("shape")
        for name in names:
            # Headings wrap at spaces in narrow terminals.
            table.add_column(
                name.replace("_", " ") + (" (floor)" if f"floor_{name}" in summary else ""), justify="right"
            )

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

    @check_arguments
    def worst(self, count: NonNegativeInt) -> list[str]:
        """Return the shapes with the largest mean distance to triangles, worst first.

        Args:
            count: Maximum number of shapes.
        """
        return sorted(self.shapes, key=lambda name: -self.shapes[name].triangle_mean)[:count]

    @check_arguments
    def save(self, folder: Path | str) -> None:
        """Write `metrics.json` and `metrics.csv`.

        Args:
            folder: Output folder; created if missing.
        """
        rows = [{"shape": name, **row} for name, row in self.figures().items()]
        write_metrics(Path(folder), self.as_dict(), list(rows[0]) if rows else [], rows)


def write_metrics(
    folder: Path, content: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write `metrics.json`, and `metrics.csv` with a row per shape; without columns, the latter is empty.

    Args:
        folder: Output folder; created if missing.
        content: Content of `metrics.json`.
        columns: Columns of `metrics.csv`.
        rows: Its rows, by column.
    """
    with full_disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1))
    with atomic_write(folder / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
        if columns:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(rows)


def _worst(name: str, values: np.ndarray) -> float:
    return float(values.min() if name.startswith(_HIGHER_IS_BETTER) else values.max())
