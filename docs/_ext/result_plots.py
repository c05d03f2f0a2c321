"""Plots of the benchmark results, drawn from the tables of benchmarks/results/*.md while the pages are built.

    ```{result-plot} presets
    ```

shows one of `PLOTS`. The numbers are read from the tables that the page includes, so plot and table cannot differ.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from docutils import nodes
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
Row = dict[str, str]
_FIRST, _SECOND, _REFERENCE = "#2f6f9f", "#e0873a", "#999999"

matplotlib.use("svg")
# Equal tables give equal files.
matplotlib.rcParams |= {"svg.hashsalt": "latentsdf", "svg.fonttype": "none", "font.size": 9, "axes.axisbelow": True}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("result-plot", ResultPlot)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


class ResultPlot(SphinxDirective):
    """Draw one of `PLOTS`; its description becomes the alternative text."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return an image."""
        name = self.arguments[0]
        page, headings, draw = PLOTS[name]
        self.env.note_dependency(str(RESULTS / page))
        folder = Path(self.env.srcdir) / "_build" / "plots"
        folder.mkdir(parents=True, exist_ok=True)
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="both", color="#e5e5e5")
        draw(axes, read_table(RESULTS / page, headings))
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        return [nodes.image("", uri=f"/_build/plots/{name}.svg", alt=(draw.__doc__ or name).strip())]


def read_table(page: Path, headings: tuple[str, ...], number: int = 0) -> list[Row]:
    """Read a table of a Markdown page.

    Args:
        page: The page.
        headings: Headings that the table has; the first table with all of them is read.
        number: 0 for the first such table, 1 for the second.

    Raises:
        ExtensionError: There is no such table.
    """
    tables = re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8") + "\n", re.MULTILINE)
    for table in tables:
        names, _, *rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in table.splitlines()]
        if set(headings) <= set(names):
            if number == 0:
                return [dict(zip(names, row, strict=False)) for row in rows]
            number -= 1
    raise ExtensionError(f"{page.name} has no table with the columns {', '.join(headings)}, which a plot needs")


def first_number(text: str) -> float:
    """Return the first number in a cell, such as 1.15 of "1.15, 1.09" and 26.4 of "26.4× flat"."""
    found = re.search(r"-?\d[\d,]*\.?\d*(e-?\d+)?", text)
    if found is None:
        raise ExtensionError(f"expected a number in a table of results, got {text!r}")
    return (
        float(found.group().rstrip(",").replace(",", ""))
        if "." in found.group()
        else float(re.sub(r",(?=\d{3})", "", found.group()).rstrip(","))
    )


def _presets(axes: Axes, rows: list[Row]) -> None:
    """Mean distance of training shapes and unseen shapes to the reference, by preset."""
    best = {"latentsdf_cpu": "fused", "compact_sdf_cpu": "fused"}
    names, known, unseen = [], [], []
    preset = ""
    for row in rows:
        preset = row["preset"].strip("`") or preset
        if row["branch"] == best.get(preset, "general"):
            names.append(preset)
            known.append(first_number(row["point to triangle"]))
            unseen.append(first_number(row["unseen: point to triangle"]))
    _paired_bars(axes, names, (known, unseen), ("training shapes", "unseen shapes, one code"))
    axes.set_xlabel("mean point-to-triangle distance in model space (smaller is better)")


def _observations(axes: Axes, rows: list[Row]) -> None:
    """Median error of an inversion, by kind of observation."""
    names = [row["observation"] for row in rows]
    _bars(axes, names, [first_number(row["median"]) for row in rows], _FIRST)
    axes.set_xlabel("median point-to-triangle distance of 9 unseen chairs (smaller is better)")


def _extraction(axes: Axes, rows: list[Row]) -> None:
    """Time of the dense lattice relative to coarse-to-fine extraction, by resolution."""
    cells = [first_number(row["cells per axis"]) for row in rows]
    axes.plot(cells, [first_number(row["dense over fused"]) for row in rows], "o-", color=_FIRST)
    axes.set_xscale("log", base=2)
    axes.set_xticks(cells, [f"{one:.0f}" for one in cells])
    axes.set(xlabel="cells per axis", ylabel="dense time over ours", ylim=(0, None))


def _preprocessing(axes: Axes, rows: list[Row]) -> None:
    """Time of other packages for the same narrow band, relative to this library."""
    rows = [row for row in rows if "subdivided" not in row["band with exact distances and signs"]]
    names = [row["band with exact distances and signs"].replace("`", "") for row in rows]
    _bars(axes, names, [first_number(row["time over ours"]) for row in rows], _FIRST)
    axes.set_xscale("log")
    axes.set_xlabel("time over ours (logarithmic)")


def _planar(axes: Axes, rows: list[Row]) -> None:
    """IoU of planar fields by method: ours with guided signs, and the published values."""
    names = [row["method"].replace("`", "") for row in rows]
    ours = [first_number(row["IoU"]) for row in rows]
    published = [first_number(row["published"]) if row["published"] else float("nan") for row in rows]
    _paired_bars(axes, names, (ours, published), ("small preset, guided signs", "published, without guidance"))
    axes.set_xlabel("IoU, mean of 14 shapes")


def _retrieval(axes: Axes, rows: list[Row]) -> None:
    """Speed of approximate indices relative to exact search, by number of codes."""
    for kind, color in (("ivf", _FIRST), ("hnsw", _SECOND)):
        chosen = [row for row in rows if row["index"] == kind]
        axes.plot(
            [first_number(row["codes"]) for row in chosen],
            [first_number(row["one query at a time"]) for row in chosen],
            "o-",
            color=color,
            label=kind,
        )
    axes.axhline(1, color=_REFERENCE, linestyle="--", label="flat (exact)")
    axes.set(xscale="log", yscale="log", xlabel="codes", ylabel="queries per second over flat")
    axes.legend(frameon=False)


def _bars(axes: Axes, names: list[str], values: list[float], color: str) -> None:
    axes.barh(names, values, color=color)
    axes.bar_label(axes.containers[0], fmt="%.4g", padding=3)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def _paired_bars(
    axes: Axes, names: list[str], values: tuple[list[float], list[float]], labels: tuple[str, str]
) -> None:
    for shift, numbers, label, color in zip((-0.2, 0.2), values, labels, (_FIRST, _SECOND), strict=True):
        bars = axes.barh([row + shift for row in range(len(names))], numbers, 0.38, color=color, label=label)
        axes.bar_label(bars, labels=["" if value != value else f"{value:.4g}" for value in numbers], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.legend(frameon=False, loc="lower right" if max(values[0]) < 0.9 else "lower left", framealpha=1)


PLOTS: dict[str, tuple[str, tuple[str, ...], Callable[[Axes, list[Row]], None]]] = {
    "presets": ("presets.md", ("preset", "branch", "point to triangle", "unseen: point to triangle"), _presets),
    "inversion": ("inversion.md", ("observation", "median", "worst"), _observations),
    "extraction": ("extraction.md", ("cells per axis", "dense over fused"), _extraction),
    "preprocessing": ("preprocessing.md", ("band with exact distances and signs", "time over ours"), _preprocessing),
    "reconstruction_2d": ("reconstruction_2d.md", ("method", "IoU", "published"), _planar),
    "retrieval": ("retrieval.md", ("codes", "index", "one query at a time"), _retrieval),
}
"""Plots by name: page, columns of its table, and the function that draws it."""
