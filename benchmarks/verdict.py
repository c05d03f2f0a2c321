r"""Verdicts on fits against the truth: unseen procedural furniture, halves and views of it, and foreign shapes.

python benchmarks/verdict.py SPACE --out verdict [--per-family 3] [--foreign meshes/bodies meshes/vehicles]

Each unseen piece of furniture is inverted from its mesh, from the points with normals of its half x > 0, and from those
that one camera sees; foreign meshes are inverted whole. A result is good if at most 2 % of the whole shape are missing,
at most 2 % of the result are debris, and the mean distance to triangles, both directions averaged, is at most 0.005
(`geometry.metrics.surface`). The verdict on a part says nothing about what was not seen, so the results of halves and
views are also `explained`: at most 2 % of the seen surface, other samples of it than those that were fitted, are
farther than 0.02 from the result, and their mean distance is at most 0.005. Prints how often each verdict was given to
good and to other results, for parts to explained and to other ones, with the precision of `fits` and the share of the
good (or explained) results that got it. Writes results.json and sheet.png (truth, then the result of each
observation).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from unseen import PIXELS, WHOLE, half, invert_one, view

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.data.mesh_datasets import find_meshes
from latentsdf.evaluation.evaluate import load_references, measure
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.metrics.surface import MISSING_DISTANCE, SurfaceComparison, triangle_distance
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import contact_sheet

FIRST_SEED = 100_000
PARTS = ("half", "view")
WORDS = ("fits", "ambiguous", "partly", "does not fit")


def is_good(found: SurfaceComparison) -> bool:
    """Whether a result is a good reconstruction of the whole shape."""
    return found.missing <= 0.02 and found.debris <= 0.02 and found.triangle_mean <= 0.005


def is_right(row: dict[str, Any]) -> bool:
    """Return True if the verdict `fits` would be correct: the result is good or, for a part, explains what was seen."""
    return bool(row["explained"] if row["observation"] in PARTS else row["good"])


def explains_seen(observed: tuple[object, object], result: trimesh.Trimesh) -> bool:
    """Return True if the observed points of a part lie close to the surface of the result."""
    points = np.asarray(observed[0])[:, :3]
    distance = triangle_distance(points, result)
    return bool((distance > MISSING_DISTANCE).mean() <= 0.02 and distance.mean() <= 0.005)


def main() -> None:
    """Invert all shapes from all observations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-family", type=int, default=3, help="unseen shapes of each category of the space")
    parser.add_argument("--foreign", nargs="*", type=Path, default=[], help="folders of shapes of other categories")
    parser.add_argument("--foreign-limit", type=int, default=6, help="shapes of each of these folders")
    parser.add_argument("--resolution", type=int, default=256)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    space = ls.load(arguments.space, "cpu")
    raw = {
        f"{family}_{number}": furniture(family, FIRST_SEED + number, wide=True)
        for family in space.categories
        for number in range(arguments.per_family)
    }
    unseen = {name: meshes.normalize(mesh, space.normalization)[0] for name, mesh in raw.items()}
    foreign: dict[str, trimesh.Trimesh] = {}
    for folder in arguments.foreign:
        loaded, _ = load_references(find_meshes(folder)[: arguments.foreign_limit])
        cleaned = {name: meshes.clean(mesh)[0] for name, mesh in loaded.items()}
        foreign |= {name: meshes.normalize(mesh, space.normalization)[0] for name, mesh in cleaned.items()}
    tasks = {
        "mesh": {name: (mesh, WHOLE) for name, mesh in unseen.items()},
        "half": {name: half(mesh) for name, mesh in unseen.items()},
        "view": {name: view(mesh) for name, mesh in unseen.items()},
        "foreign": {name: (mesh, WHOLE) for name, mesh in foreign.items()},
    }
    truth = unseen | foreign
    pictures = {name: [render_mesh(mesh, size=PIXELS, fit=False)] for name, mesh in unseen.items()}
    rows = []
    for kind, observed in tasks.items():
        fits = {name: invert_one(space, one, None)[0] for name, one in observed.items()}
        evaluation, made = measure(space, fits, truth, resolution=arguments.resolution, points=20_000)
        for name, fit in fits.items():
            assert fit.verdict is not None
            found = evaluation.shapes.get(name)
            row = {"observation": kind, "shape": name, "verdict": fit.verdict.word, "predicted": fit.verdict.error}
            row |= {"good": found is not None and is_good(found)}
            if kind in PARTS:
                again = half(truth[name], seed=1) if kind == "half" else view(truth[name], pixels=190)
                row |= {"explained": name in made and explains_seen(again, made[name])}
            if found is not None:
                row |= {key: getattr(found, key) for key in ("triangle_mean", "missing", "debris")}
            rows.append(row)
            sys.stdout.write(json.dumps(row) + "\n")
            if name in pictures:
                blank = Image.new("RGB", (PIXELS,) * 2)
                pictures[name].append(render_mesh(made[name], size=PIXELS, fit=False) if name in made else blank)
    (arguments.out / "results.json").write_text(json.dumps(rows, indent=1))
    contact_sheet(list(pictures.values())).save(arguments.out / "sheet.png")
    sys.stdout.write("| observation | " + " | ".join(f"{word}: good, other" for word in WORDS) + " |\n")
    for kind in tasks:
        mine = [row for row in rows if row["observation"] == kind]
        counts = [
            [sum(r["verdict"] == word and is_right(r) is right for r in mine) for right in (True, False)]
            for word in WORDS
        ]
        sys.stdout.write(f"| {kind} | " + " | ".join(f"{good}, {other}" for good, other in counts) + " |\n")
    for kinds in (("mesh", "foreign"), PARTS):
        mine = [row for row in rows if row["observation"] in kinds]
        said = [row for row in mine if row["verdict"] == "fits"]
        hits = sum(is_right(row) for row in said)
        right = sum(is_right(row) for row in mine)
        sys.stdout.write(f"{' and '.join(kinds)}: {hits} of {len(said)} 'fits' are right, {hits} of {right} get it\n")


if __name__ == "__main__":
    main()
