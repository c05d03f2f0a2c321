"""Result of an evaluation by a published protocol: its definition, metrics with sampling floors, and their summary."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from latentsdf.config.arguments import check_arguments
from latentsdf.evaluation.protocols import Figures, ProtocolName
from latentsdf.evaluation.result import write_metrics
from latentsdf.utils.notebook import html_table


@dataclass(frozen=True, repr=False)
class ProtocolEvaluation:
    """Metrics of reconstructed shapes by a published protocol, and the shapes that could not be evaluated."""

    protocol: ProtocolName
    """Name of the protocol."""
    definition: tuple[str, ...]
    """What was measured, line by line, with the numbers that were used."""
    samples: int
    """Number of surface samples."""
    resolution: int
    """Cells per axis of the extraction."""
    seed: int
    """Seed of all samples."""
    shapes: dict[str, Figures]
    """Metrics by name of the shape."""
    floors: dict[str, Figures]
    """Sampling floors by name of the shape: what a perfect reconstruction would get; for metrics that have one."""
    failed: dict[str, str]
    """Reasons for the shapes that could not be evaluated, by name."""

    def __repr__(self) -> str:
        return f"<ProtocolEvaluation: {', '.join(f'{name} {value}' for name, value in self._overview().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks; `table` has all shapes."""
        return html_table("ProtocolEvaluation", self._overview())

    def _overview(self) -> dict[str, object]:
        means = {f"mean {name}": f"{row['mean']:.4g}" for name, row in self.summary().items()}
        return {"protocol": self.protocol, "shapes": len(self.shapes), "failed": len(self.failed), **means}

    def summary(self) -> dict[str, dict[str, float]]:
        """Return the mean, median and standard deviation of each metric over the shapes, as in the publications.

        Returns:
            Statistics by name of the metric, with the keys `mean`, `median`, `std`, and `floor`, the mean floor, for
            metrics that have one; empty without shapes. A metric that some shapes lack is summarized over the others.
        """
        summary = {}
        for name in dict.fromkeys(name for row in self.shapes.values() for name in row):
            values = np.array([row[name] for row in self.shapes.values() if name in row])
            summary[name] = {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "std": float(values.std()),
            }
            floors = [row[name] for row in self.floors.values() if name in row]
            if floors:
                summary[name]["floor"] = float(np.mean(floors))
        return summary

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "protocol": self.protocol,
            "definition": list(self.definition),
            "samples": self.samples,
            "resolution": self.resolution,
            "seed": self.seed,
            "summary": self.summary(),
            "shapes": self.shapes,
            "floors": self.floors,
            "failed": self.failed,
        }

    def table(self) -> Table:
        """Return a table of all shapes and the summary, with sampling floors in parentheses."""
        table = Table(title=f"{self.protocol}: {len(self.shapes)} shapes, {len(self.failed)} failed")
        summary = self.summary()
        table.add_column("shape")
        for name, row in summary.items():
            # Headings wrap at spaces in narrow terminals.
            table.add_column(name.replace("_", " ") + (" (floor)" if "floor" in row else ""), justify="right")
        for shape, row in self.shapes.items():
            floors = self.floors[shape]
            table.add_row(shape, *(_cell(row.get(name), floors.get(name)) for name in summary))
        for statistic in ("mean", "median", "std") if summary else ():
            cells = [
                _cell(row[statistic], row.get("floor") if statistic == "mean" else None) for row in summary.values()
            ]
            table.add_row(f"[bold]{statistic}[/]", *cells)
        return table

    @check_arguments
    def save(self, folder: Path | str) -> None:
        """Write `metrics.json` and `metrics.csv`.

        Args:
            folder: Output folder; created if missing.
        """
        columns = ([name] + ([f"floor_{name}"] if "floor" in row else []) for name, row in self.summary().items())
        rows = [
            {"shape": shape, **row, **{f"floor_{name}": value for name, value in self.floors[shape].items()}}
            for shape, row in self.shapes.items()
        ]
        write_metrics(Path(folder), self.as_dict(), ["shape", *itertools.chain(*columns)], rows)


def _cell(value: float | None, floor: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" + ("" if floor is None else f" ({floor:.3g})")
