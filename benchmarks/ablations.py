"""Ablations of published methods: what one choice changes, with everything else equal.

python benchmarks/ablations.py band SPACE --meshes FOLDER [--widths 1 2 3 4 5 6]
python benchmarks/ablations.py branches SPACE --meshes FOLDER
python benchmarks/ablations.py code-length STORE --meshes FOLDER [--lengths 8 16 32 64] [--minutes 10]
python benchmarks/ablations.py sampling STORE --meshes FOLDER [--draws even signs near surface] [--minutes 10]

- band: half width n of the fusion band, in cells of a 512^3 lattice, on a trained space (Compact-SDF: n = 3 is best).
- branches: the general branch, the overfit branch in the whole box, both fused, and blended, on a trained space
  (Compact-SDF's ablation of the two branches).
- code-length: length L of the codes, by spaces that are trained for the same time (Compact-SDF: 8 to 64).
- sampling: how the samples of a step are drawn, by spaces that are trained for the same time (`train.draw`).

The training shapes of the space whose meshes are in the folder are compared with them; `--limit` takes the first ones.
Columns: Compact-SDF's Chamfer (mean a^2 + mean b^2, samples against the vertices) and its sampling floor, the mean
distance to triangles, F-score at 0.01, missing share, and debris; means over the shapes. --preset selects the settings
from which training starts, --markdown also writes the table to a file.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

import latentsdf as ls
from latentsdf.config import loader
from latentsdf.config.training import Config, Draw
from latentsdf.data.mesh_datasets import find_meshes
from latentsdf.evaluation.evaluate import evaluate, load_references

BRANCHES = ("general", "overfit_box", "overfit", "smooth", "fused")
COLUMNS = ("cd_sq_sum", "floor_cd_sq_sum", "triangle_mean", "f_score_0.01", "missing", "debris")
HEADINGS = ("CD-sq-sum x 1e4", "its floor", "triangles", "F(0.01)", "missing", "debris")


def measure(space: ls.ShapeSpace, arguments: argparse.Namespace, mode: Any = "fused") -> dict[str, float]:
    """Mean metrics of the training shapes of a space that have meshes."""
    known = [file for file in find_meshes(arguments.meshes) if file.key in space.keys or file.id in space]
    if not known:
        raise SystemExit(f"{arguments.meshes}: holds no mesh of a training shape of {space.folder}")
    references, failed = load_references(known[: arguments.limit], space.keys)
    options: dict[str, Any] = {"resolution": arguments.resolution, "points": arguments.points, "field_points": 0}
    found, _ = evaluate(space, references, mode=mode, against="vertices", taus=(0.01,), **options)
    for name, reason in (failed | found.failed).items():
        sys.stderr.write(f"{name}: {reason}\n")
    return {name: found.summary()[name]["mean"] if found.shapes else np.nan for name in COLUMNS}


def band(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Metrics by width of the fusion band."""
    space = ls.load(arguments.source, arguments.device)
    for width in arguments.widths:
        model = dataclasses.replace(space.config.model, band_voxels=float(width))
        space.config = dataclasses.replace(space.config, model=model)
        yield f"n = {width:g}", measure(space, arguments)


def branches(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Metrics by branch."""
    space = ls.load(arguments.source, arguments.device)
    for mode in BRANCHES:
        yield mode, measure(space, arguments, mode)


def code_length(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Metrics by length of the codes."""
    for length in arguments.lengths:
        yield f"L = {length}", trained(arguments, lambda c: _with(c, "model", code_dim=length))  # noqa: B023


def sampling(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Metrics by distribution of the samples."""
    for draw in arguments.draws:
        yield draw, trained(arguments, lambda c: _with(c, "train", draw=draw))  # noqa: B023


def trained(arguments: argparse.Namespace, change: Callable[[Config], Config]) -> dict[str, float]:
    """Metrics of a space that is trained with changed settings."""
    preset = loader.load(Config, loader.find_preset(arguments.preset))
    config = change(_with(preset, "train", minutes=arguments.minutes, steps=arguments.steps))
    with tempfile.TemporaryDirectory() as folder:
        space = ls.train(arguments.source, config, out=Path(folder) / "space", device=arguments.device)
        return measure(space, arguments)


def _with(config: Config, section: str, **changes: Any) -> Config:
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **changes)})


def table(rows: list[tuple[str, dict[str, float]]], heading: str) -> str:
    """Markdown table of the rows."""
    lines = [f"| {heading} | {' | '.join(HEADINGS)} |", f"|{'---|' * (len(HEADINGS) + 1)}"]
    for name, row in rows:
        chamfer = [f"{1e4 * row[column]:.3f}" for column in COLUMNS[:2]]
        lines.append(f"| {name} | {' | '.join(chamfer + [f'{row[column]:.4f}' for column in COLUMNS[2:]])} |")
    return "\n".join(lines)


def main() -> None:
    """Run one ablation and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="ablation", required=True)
    for name, source in (("band", "space"), ("branches", "space"), ("code-length", "store"), ("sampling", "store")):
        command = commands.add_parser(name)
        command.add_argument("source", metavar=source.upper())
        command.add_argument("--meshes", type=Path, required=True)
        command.add_argument("--limit", type=int, help="number of shapes")
        command.add_argument("--resolution", type=int, default=256)
        command.add_argument("--points", type=int, default=100_000)
        command.add_argument("--device", default="cpu")
        command.add_argument("--markdown", type=Path)
        if source == "store":
            command.add_argument("--preset", default="latentsdf_cpu")
            command.add_argument("--minutes", type=float, default=10.0)
            command.add_argument("--steps", type=int, default=10_000_000)
    commands.choices["band"].add_argument("--widths", type=float, nargs="+", default=[1, 2, 3, 4, 5, 6])
    commands.choices["code-length"].add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64])
    commands.choices["sampling"].add_argument(
        "--draws", nargs="+", default=list(get_args(Draw)), choices=get_args(Draw)
    )
    arguments = parser.parse_args()
    runs = {"band": band, "branches": branches, "code-length": code_length, "sampling": sampling}
    rows = []
    for row in runs[arguments.ablation](arguments):
        rows.append(row)
        sys.stdout.write(f"{row[0]}: {row[1]}\n")
        sys.stdout.flush()
    text = table(rows, arguments.ablation)
    sys.stdout.write(text + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
