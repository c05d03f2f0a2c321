"""Inversion of unseen meshes: published inversions by Adam against ours, on the same space and samples.

python benchmarks/invert.py SPACE [MESH ...] [--furniture chair:3 table:7 ...] [--recipes deepsdf compact_sdf igr]
    [--one-code] [--align] [--batch 16] [--reached] [--markdown FILE]

Shapes are mesh files and unseen procedural furniture, family:number with the seed 100,000 + number. Each is inverted by
`space.invert(method="adam", recipe=...)` with published numbers of steps, and by our solver; all methods of a shape run
one after the other. Columns:

- field: sum of both branches' mean absolute errors on held-out samples, truncated at 0.1, s_o's within 0.05 of the
  surface;
- triangles: mean distance between the surface of the fit (fused, 128^3) and the mesh, over both directions;
- F: F-score at 0.01 of the same;
- seconds: processor time of the fit alone, without the sampling of the mesh and the verdict; with one thread on a
  machine without other work, it equals the wall clock.

Our solver ends with one code per conditioned layer, except for spaces of local codes; with --one-code it fits a single
code, as the published inversions do. With --reached it also runs with 3, 6, 12 and 24 steps, and `reached` is the time
of its shortest run whose field error is no larger than that of the first recipe, relative to that of the recipe; inf if
there is none. --batch also times our inversion of that many observations at once.
"""

import argparse
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh

import latentsdf as ls
from latentsdf.config.inversion import ADAM_RECIPES, InvertConfig
from latentsdf.data.furniture import furniture
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.observation import NEAR, Observation

CLAMP = 0.1
BUDGETS = (3, 6, 12, 24)
OURS = "gauss_newton"
UNSEEN_SEEDS = 100_000


@dataclass(frozen=True)
class Row:
    """Errors and time of one inversion."""

    field: float
    triangles: float
    f_score: float
    seconds: float


def held_out(space: ls.ShapeSpace, fit: ls.Inversion, unseen: Observation) -> float:
    """Error of both branches on held-out samples, in the frame of the observation."""
    placed: Similarity = fit.similarity
    points = placed.to_model(unseen.similarity.to_user(unseen.points)).astype(np.float32)
    scale = placed.scale / unseen.similarity.scale
    with torch.no_grad():
        branches = space.model(torch.from_numpy(points)[None], space.decoded_code(fit)[None])
    distance = torch.from_numpy(unseen.low)
    near, wanted = distance.abs() < NEAR, distance.clamp(-CLAMP, CLAMP)
    general, overfit = (((d[0] / scale).clamp(-CLAMP, CLAMP) - wanted).abs() for d in branches)
    return float(general.mean() + overfit[near].mean())


def measure(
    space: ls.ShapeSpace, mesh: trimesh.Trimesh, seen: Observation, unseen: Observation, config: InvertConfig
) -> Row:
    """Invert a shape and measure the fit."""
    started = time.process_time()
    fit = space.invert(seen, config)
    seconds = time.process_time() - started
    try:
        surface = space.extract(fit, 128)
        to_model = seen.similarity.to_model
        pair = (trimesh.Trimesh(to_model(one.vertices), one.faces, process=False) for one in (surface, mesh))
        compared = compare_surfaces(*pair, count=30_000, taus=(0.01,))
        triangles, f_score = compared.triangle_mean, compared.f_scores[0.01]
    except ls.EmptyLevelSetError:
        triangles, f_score = np.inf, 0.0
    return Row(held_out(space, fit, unseen), triangles, f_score, seconds)


def shapes(arguments: argparse.Namespace) -> dict[str, trimesh.Trimesh]:
    """Meshes by name."""
    found = {path.stem: meshes.clean(meshes.load(path))[0] for path in arguments.meshes}
    for one in arguments.furniture:
        family, _, number = one.partition(":")
        found[one] = furniture(family, UNSEEN_SEEDS + int(number or 0), wide=True)
    return found


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(results: dict[str, dict[str, Row]]) -> str:
    """Markdown table: a line per shape and method, and the medians."""
    lines = ["| shape | method | field | triangles | F(0.01) | seconds |", "|---|---|---|---|---|---|"]
    rows = [(shape, method, row) for shape, by_method in results.items() for method, row in by_method.items()]
    for method in next(iter(results.values())):
        columns = np.array([dataclasses.astuple(by_method[method]) for by_method in results.values()])
        rows.append(("median", method, Row(*np.median(columns, axis=0).tolist())))
    for shape, method, row in rows:
        lines.append(
            f"| {shape} | {method} | {row.field:.4f} | {row.triangles:.4f} | {row.f_score:.3f} | {row.seconds:.1f} |"
        )
    return "\n".join(lines)


def reached(
    space: ls.ShapeSpace, seen: Observation, unseen: Observation, config: InvertConfig, published: Row, ours: Row
) -> float:
    """Time of our shortest inversion that is as accurate as a published one, relative to its time."""
    for steps in BUDGETS:
        started = time.process_time()
        fit = space.invert(seen, dataclasses.replace(config, steps=steps))
        seconds = time.process_time() - started
        if held_out(space, fit, unseen) <= published.field:
            return seconds / published.seconds
    return ours.seconds / published.seconds if ours.field <= published.field else np.inf


def main() -> None:
    """Print a line per shape and method, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space")
    parser.add_argument("meshes", type=Path, nargs="*")
    parser.add_argument("--furniture", nargs="*", default=[], metavar="FAMILY:NUMBER")
    parser.add_argument("--recipes", nargs="*", default=["deepsdf"], choices=list(ADAM_RECIPES))
    parser.add_argument("--align", action="store_true", help="estimate the placement as well, by our solver only")
    parser.add_argument("--one-code", action="store_true")
    parser.add_argument("--reached", action="store_true")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    space = ls.load(arguments.space, "cpu")
    ours = InvertConfig(align=arguments.align, by_layer=not arguments.one_code, assess=False)
    configs: dict[str, Any] = {
        name: InvertConfig(method="adam", recipe=name, assess=False) for name in arguments.recipes
    }
    configs[OURS] = ours
    targets = shapes(arguments)
    observed = {name: space.observe(mesh) for name, mesh in targets.items()}
    space.invert(next(iter(observed.values())), dataclasses.replace(ours, steps=2))  # compiles kernels
    results: dict[str, dict[str, Row]] = {}
    for name, mesh in targets.items():
        unseen = space.observe(mesh, seed=1)
        results[name] = {}
        for method, config in configs.items():
            row = results[name][method] = measure(space, mesh, observed[name], unseen, config)
            say(f"{name:24s} {method:12s} field {row.field:.4f}  triangles {row.triangles:.4f}  {row.seconds:6.1f} s")
        if arguments.reached:
            share = reached(
                space, observed[name], unseen, ours, *(results[name][m] for m in (next(iter(configs)), OURS))
            )
            say(f"{name:24s} reached {share:.3f}")
    say(table(results))
    if arguments.markdown:
        arguments.markdown.write_text(table(results) + "\n")
    if arguments.batch:
        many = [list(observed.values())[i % len(observed)] for i in range(arguments.batch)]
        seconds = []
        for batch in (many[:1], many):
            started = time.process_time()
            space.invert_many(batch, ours)
            seconds.append(time.process_time() - started)
        say(f"{arguments.batch} at once cost {seconds[1] / seconds[0]:.1f} x one ({seconds[0]:.2f} s)")


if __name__ == "__main__":
    main()
