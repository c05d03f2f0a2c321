"""Measure a space against meshes: extract training shapes, or invert unseen ones, and compare surfaces.

All figures are in model space, the shape normalized to the unit sphere at radius 1/1.03, so that shapes of different
units can be averaged. `geometry.metrics` defines each of them.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from rich.table import Table

from latentsdf.config import InvertConfig
from latentsdf.errors import EmptyLevelSetError, LatentSDFError
from latentsdf.extract import Mode
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.metrics import Comparison, compare
from latentsdf.progress import console, track
from latentsdf.space import CodeLike, ShapeSpace

_SHOWN = ("cd_sq_sum", "floor_cd_sq_sum", "cd_l1_half", "f_score_001", "f_score_002", "normal_consistency", "hausdorff")


@dataclass(frozen=True)
class Evaluation:
    """Figures per shape, and the shapes that could not be measured with the reason."""

    mode: str
    resolution: int
    points: int
    seed: int
    shapes: dict[str, Comparison]
    failed: dict[str, str]

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean, median and worst of each figure; scores where more is better have their minimum as the worst."""
        rows = [c.as_dict() for c in self.shapes.values()]
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
            "seed": self.seed,
            "frame": "model space: bounding-box centre, farthest vertex at 1/1.03",
            "summary": self.summary(),
            "shapes": {name: c.as_dict() for name, c in self.shapes.items()},
            "failed": self.failed,
        }

    def table(self) -> Table:
        """The figures people look at first."""
        table = Table(title=f"{len(self.shapes)} shapes, {self.mode}, {self.resolution}^3, {self.points:,} points")
        table.add_column("shape")
        for name in _SHOWN:
            table.add_column(name, justify="right")
        for shape, comparison in self.shapes.items():
            table.add_row(shape, *(f"{comparison.as_dict()[name]:.3g}" for name in _SHOWN))
        summary = self.summary()
        for statistic in ("mean", "median", "worst") if summary else ():
            table.add_row(f"[bold]{statistic}", *(f"{summary[name][statistic]:.3g}" for name in _SHOWN))
        return table

    def worst(self, count: int) -> list[str]:
        """The shapes of the largest Chamfer distance over its floor, worst first."""
        return sorted(self.shapes, key=lambda name: -self.shapes[name].over_floor)[:count]

    def save(self, folder: Path) -> None:
        """Write `metrics.json` and `metrics.csv`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(self.as_dict(), indent=1))
        with (folder / "metrics.csv").open("w", newline="") as file:
            rows = [{"shape": name, **c.as_dict()} for name, c in self.shapes.items()]
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
    inversion: InvertConfig | None = None,
) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
    """Compare reconstructions with reference meshes (any frame), by name.

    Training shapes (`unseen=False`) are looked up by id; unseen ones are inverted from their mesh, by code alone.
    Returns the figures and the reconstructions in model space. A shape that fails is named, not fatal.
    """
    codes, failed = _codes(space, references, unseen, inversion)
    shapes: dict[str, Comparison] = {}
    reconstructions: dict[str, trimesh.Trimesh] = {}
    with track("evaluating", total=len(codes), unit="shape") as advance:
        for name, code in codes.items():
            try:
                reference, _ = meshes.normalize(meshes.clean(references[name])[0], "sphere")
                mesh = space.extract(code, resolution, mode)
                mesh.vertices = space.similarity(code).to_model(mesh.vertices)
                shapes[name] = compare(mesh, reference, n=points, seed=seed)
                reconstructions[name] = mesh
            except EmptyLevelSetError as error:
                failed[name] = str(error)
            advance()
    return Evaluation(mode, resolution, points, seed, shapes, failed), reconstructions


def load_references(paths: Sequence[Path]) -> tuple[dict[str, trimesh.Trimesh], dict[str, str]]:
    """Meshes by file stem, and the files that could not be read with the reason."""
    loaded: dict[str, trimesh.Trimesh] = {}
    failed: dict[str, str] = {}
    for path in paths:
        try:
            loaded[path.stem] = meshes.load(path)
        except LatentSDFError as error:
            failed[path.stem] = str(error)
            console.print(f"[yellow]skipped[/] {error}")
    return loaded, failed


def _codes(
    space: ShapeSpace, references: dict[str, trimesh.Trimesh], unseen: bool, inversion: InvertConfig | None
) -> tuple[dict[str, CodeLike], dict[str, str]]:
    if unseen:
        fits = space.invert_many(list(references.values()), inversion)
        return dict(zip(references, fits, strict=True)), {}
    known = set(space.ids) | set(space.keys)
    failed = {name: "not a training shape of this space; pass --invert" for name in references if name not in known}
    return {name: name for name in references if name in known}, failed


def _worst(name: str, values: np.ndarray) -> float:
    more_is_better = name.startswith(("f_score", "normal_consistency", "iou", "precision", "recall"))
    return float(values.min() if more_is_better else values.max())
