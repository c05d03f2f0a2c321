r"""Inversion of unseen shapes from a mesh, few points, half of the surface, one view, and noisy points.

python benchmarks/unseen.py SPACE --meshes furniture --train chair_train.json --test chair_test.json --out unseen \
    [--observations mesh refined points oriented half view noisy] [--limit 9] [--copies 20]

Shapes are in model space and measured as in `quality.py`, against the solid that a mesh represents; points are sampled
from its surface. `points` are 2,000 without normals, `oriented` with them, `noisy` 20,000 without normals and with
noise of 0.5 % of the diagonal; `half` is the side x > 0 and `view` the points visible from one camera, both with
normals and as partial observations. `refined` also fits a delta of the grid features to the mesh and prints its size.
Training shapes are listed for comparison. `unseen half` is the mean distance from samples of the half that was not
observed to the reconstruction.

`--copies` measures how often a damaged copy of a training shape retrieves the original first: half of its surface, and
noisy points with three holes of a tenth of the surface each. Prints a table, writes results.json and sheet.png.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from quality import references_of, solid_surfaces

import latentsdf as ls
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.evaluation.evaluate import measure
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.rays import ray_scene
from latentsdf.geometry.metrics.surface import sample_surface
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.rendering.camera import Camera
from latentsdf.rendering.render import cast_rays, render_mesh
from latentsdf.rendering.sheets import contact_sheet
from latentsdf.space import CodeLike, ShapeSpace
from latentsdf.utils.console import show_note

WHOLE = InvertConfig(frame="model")
PART = dataclasses.replace(WHOLE, partial=True)
FEW, MANY = 2_000, 20_000
NOISE = 0.005
SHEET_ROWS = 6
PIXELS = 180

Observed = tuple[object, InvertConfig]
"""A target, and the settings of its inversion."""


def few_points(solid: trimesh.Trimesh) -> Observed:
    """2,000 points without normals."""
    return sample_surface(solid, FEW, 0).points, WHOLE


def oriented_points(solid: trimesh.Trimesh) -> Observed:
    """2,000 points with normals."""
    drawn = sample_surface(solid, FEW, 0)
    return np.hstack((drawn.points, drawn.normals)), WHOLE


def noisy_points(solid: trimesh.Trimesh) -> Observed:
    """20,000 noisy points without normals."""
    return _moved(sample_surface(solid, MANY, 0).points, solid), WHOLE


def half(solid: trimesh.Trimesh, seed: int = 0) -> Observed:
    """Points with normals of the side x > 0."""
    samples = sample_surface(solid, MANY, seed)
    seen = samples.points[:, 0] > 0
    return np.hstack((samples.points[seen], samples.normals[seen])), PART


def view(solid: trimesh.Trimesh, pixels: int = 220) -> Observed:
    """Points with normals that are visible from one camera, one per pixel of a square image."""
    scene = ray_scene(np.asarray(solid.triangles))
    points, normals, _ = cast_rays(scene, solid, Camera.orbit(35, 20, np.zeros(3), 1.0), pixels)
    return np.hstack((points, normals)), PART


CLOUDS: dict[str, Callable[[trimesh.Trimesh], Observed]] = {
    "points": few_points,
    "oriented": oriented_points,
    "half": half,
    "view": view,
    "noisy": noisy_points,
}
OBSERVATIONS = ("mesh", "refined", *CLOUDS)


def _moved(points: NDArray[np.float64], solid: trimesh.Trimesh) -> NDArray[np.float64]:
    return points + NOISE * solid.scale * np.random.default_rng(0).normal(size=points.shape)


def damaged(solid: trimesh.Trimesh) -> Observed:
    """Noisy points with normals and three holes of a tenth of the points each."""
    samples = sample_surface(solid, MANY, 0)
    table = np.hstack((_moved(samples.points, solid), samples.normals))
    for _ in range(3):
        distance = np.linalg.norm(table[:, :3] - table[0, :3], axis=1)
        table = table[distance > np.quantile(distance, 0.1)]
    return table, PART


def invert_one(space: ShapeSpace, observed: Observed, refinement: RefineConfig | None) -> tuple[Inversion, float]:
    """Fit of an observation, and its seconds."""
    target, config = observed
    started = time.perf_counter()
    fit = space.invert(target, config, refinement=refinement)  # type: ignore[arg-type]
    return fit, time.perf_counter() - started


def found_first(space: ShapeSpace, solids: dict[str, trimesh.Trimesh]) -> dict[str, float]:
    """Shares of damaged training shapes that retrieve the original first."""
    hits: dict[str, list[bool]] = {"half": [], "damaged": []}
    for name, solid in solids.items():
        for kind, damage in (("half", half), ("damaged", damaged)):
            fit, _ = invert_one(space, damage(solid), None)
            hits[kind].append(space.nearest(fit, 1).ids[0] == name)
    return {kind: float(np.mean(each)) for kind, each in hits.items()}


def figures(
    space: ShapeSpace, codes: dict[str, CodeLike], solids: dict[str, trimesh.Trimesh], resolution: int
) -> tuple[dict[str, float], dict[str, trimesh.Trimesh]]:
    """Point-to-triangle distance of each shape, averaged over both directions, and the reconstructions."""
    evaluation, made = measure(space, codes, solids, resolution=resolution, points=20_000)
    for name, reason in evaluation.failed.items():
        show_note("not measured", f"{name}: {reason}")
    return {n: (c.to_reference_mean + c.to_reconstruction_mean) / 2 for n, c in evaluation.shapes.items()}, made


def hidden_half(made: dict[str, trimesh.Trimesh], solids: dict[str, trimesh.Trimesh]) -> float:
    """Median over shapes of the mean distance from samples of the unobserved half to the reconstruction."""
    found = []
    for name, mesh in made.items():
        points = sample_surface(solids[name], MANY, 1).points
        found.append(np.abs(MeshDistance(mesh)(points[points[:, 0] <= 0])).mean())
    return float(np.median(found))


def main() -> None:
    """Invert each shape from each observation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--meshes", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True, help="split file of known shapes of the category")
    parser.add_argument("--test", type=Path, required=True, help="split file of unseen shapes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--observations", nargs="+", choices=OBSERVATIONS, default=list(OBSERVATIONS))
    parser.add_argument("--limit", type=int, help="number of shapes per split, at equal intervals")
    parser.add_argument(
        "--copies", type=int, default=0, help="number of training shapes of which damaged copies are retrieved"
    )
    parser.add_argument("--resolution", type=int, default=256)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    space = ls.load(arguments.space, "cpu")

    def prepared(split: Path, limit: int | None) -> tuple[dict[str, trimesh.Trimesh], dict[str, trimesh.Trimesh]]:
        raw = references_of(arguments.meshes, split, limit)
        known = {name: meshes.normalize(mesh, space.normalization)[0] for name, mesh in raw.items()}
        return known, solid_surfaces(known, arguments.out / f"solids_{arguments.resolution}", arguments.resolution)

    references, solids = prepared(arguments.test, arguments.limit)
    _, known_solids = prepared(arguments.train, arguments.copies or arguments.limit)
    known, _ = figures(space, {name: space.code(name) for name in known_solids}, known_solids, arguments.resolution)
    usual = float(np.median(list(known.values())))
    rows: dict[str, dict[str, float]] = {"known": {"shapes": len(known), "median": usual}}
    images = {name: [render_mesh(solid, size=PIXELS, fit=False)] for name, solid in list(solids.items())[:SHEET_ROWS]}
    space.invert(next(iter(references.values())), dataclasses.replace(WHOLE, steps=2))  # compiles on first use
    for kind in arguments.observations:
        refinement = RefineConfig() if kind == "refined" else None
        fits, seconds, sizes = {}, [], []
        for name, mesh in references.items():
            observed = CLOUDS[kind](solids[name]) if kind in CLOUDS else (mesh, WHOLE)
            fits[name], spent = invert_one(space, observed, refinement)
            seconds.append(spent)
            if fits[name].delta is not None:
                fits[name].delta.save(arguments.out / "delta.npz")
                sizes.append((arguments.out / "delta.npz").stat().st_size / 1e6)
        errors, made = figures(space, dict(fits), solids, arguments.resolution)
        values = np.array(list(errors.values()))
        rows[kind] = {
            "shapes": len(errors),
            "median": float(np.median(values)),
            "mean": float(values.mean()),
            "worst": float(values.max()),
            "over known median": float(np.median(values)) / usual,
            "seconds": float(np.median(seconds)),
            "most seconds": max(seconds),
        }
        rows[kind] |= {"MB": max(sizes)} if sizes else {}
        rows[kind] |= {"unseen half": hidden_half(made, solids)} if kind == "half" else {}
        for name in images:
            image = render_mesh(made[name], size=PIXELS, fit=False) if name in made else Image.new("RGB", (PIXELS,) * 2)
            images[name].append(image)
        sys.stdout.write(f"{kind}: {rows[kind]}\n")
        sys.stdout.flush()
    captions = [["truth", *arguments.observations] for _ in images]
    contact_sheet(list(images.values()), captions=captions).save(arguments.out / "sheet.png")
    if arguments.copies:
        rows["original found first"] = found_first(space, known_solids)
    (arguments.out / "results.json").write_text(json.dumps(rows, indent=1))
    for kind, row in rows.items():
        sys.stdout.write(f"| {kind} | " + " | ".join(f"{name} {value:.4g}" for name, value in row.items()) + " |\n")


if __name__ == "__main__":
    main()
