r"""Rate and distortion of refined fits, against a simplified mesh in Draco's format of the same size.

python benchmarks/refine.py SPACE MESHES... --out refined [--budgets 16 64 256] [--full]

Each mesh is inverted, and refined within each budget in kB; with --full also without a limit of size. The reference is
the mesh's solid on a lattice of 512^3. Errors are point-to-triangle distances, both directions averaged, in model
space, of the surface extracted at --resolution. For Draco, the solid's surface is simplified by quadric error collapse
to the largest number of faces whose encoding fits into the budget. Prints medians over the meshes and writes
results.json and sheet.png (truth, code, each budget).
"""

import argparse
import json
import sys
import time
from pathlib import Path

import DracoPy
import numpy as np
import trimesh
from unseen import PIXELS, WHOLE, solid_surfaces

import latentsdf as ls
from latentsdf.config.inversion import RefineConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.metrics.surface import compare_surfaces
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import contact_sheet

POINTS = 30_000
DRACO_BITS = 12


def draco(mesh: trimesh.Trimesh, budget_kb: float) -> tuple[trimesh.Trimesh, int]:
    """Return the most detailed simplification of a mesh that Draco encodes within a budget, decoded, and its bytes."""
    low, high, best = 100, len(mesh.faces), None
    while high - low > 0.05 * high:
        count = (low + high) // 2
        some = mesh.simplify_quadric_decimation(face_count=count)
        data = DracoPy.encode(np.asarray(some.vertices), np.asarray(some.faces), quantization_bits=DRACO_BITS)
        if len(data) <= 1000 * budget_kb:
            low, best = count, data
        else:
            high = count
    if best is None:
        raise SystemExit(f"{budget_kb} kB are too small for a Draco mesh of 100 faces")
    decoded = DracoPy.decode(best)
    return trimesh.Trimesh(decoded.points, decoded.faces, process=False), len(best)


def main() -> None:
    """Refine all meshes within all budgets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("meshes", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budgets", nargs="+", type=float, default=[16, 64, 256])
    parser.add_argument("--full", action="store_true", help="also refine without a limit of size")
    parser.add_argument("--resolution", type=int, default=256)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    space = ls.load(arguments.space, "cpu")
    rows: dict[str, list[tuple[float, float, float]]] = {}  # kind -> error, kB, seconds
    images = []
    placed = {
        path.stem: meshes.normalize(meshes.clean(meshes.load(path))[0], space.normalization)[0]
        for path in arguments.meshes
    }
    solids = solid_surfaces(placed, arguments.out / "solids", 512)
    for name, solid in solids.items():
        row = [render_mesh(solid, size=PIXELS, fit=False)]

        def record(kind: str, made: trimesh.Trimesh, size: int, seconds: float, truth: trimesh.Trimesh = solid) -> None:
            rows.setdefault(kind, []).append(
                (compare_surfaces(made, truth, POINTS).triangle_mean, size / 1000, seconds)
            )

        started = time.perf_counter()
        fit = space.invert(placed[name], WHOLE)
        surface = space.extract(fit, arguments.resolution, frame="model")
        record(
            "code",
            surface,
            fit.code.nbytes + (0 if fit.layers is None else fit.layers.nbytes),
            time.perf_counter() - started,
        )
        row.append(render_mesh(surface, size=PIXELS, fit=False))
        for budget in [*arguments.budgets, *([0.0] if arguments.full else [])]:
            started = time.perf_counter()
            refined = space.refine(fit, placed[name], RefineConfig(budget_kb=budget))
            seconds = time.perf_counter() - started
            assert refined.delta is not None
            refined.delta.save(arguments.out / "delta.npz")
            surface = space.extract(refined, arguments.resolution, frame="model")
            kind = f"{budget:g} kB" if budget else "no limit"
            record(kind, surface, (arguments.out / "delta.npz").stat().st_size, seconds)
            row.append(render_mesh(surface, size=PIXELS, fit=False))
            if budget:
                started = time.perf_counter()
                simplified, size = draco(solid, budget)
                record(f"Draco, {budget:g} kB", simplified, size, time.perf_counter() - started)
        images.append(row)
        sys.stdout.write(f"{name}: " + ", ".join(f"{kind} {values[-1][0]:.5f}" for kind, values in rows.items()) + "\n")
        sys.stdout.flush()
    (arguments.out / "results.json").write_text(json.dumps(rows, indent=1))
    captions = ["truth", "code", *(f"{budget:g} kB" for budget in arguments.budgets), *(["no limit"] * arguments.full)]
    contact_sheet(images, captions=[captions] * len(images)).save(arguments.out / "sheet.png")
    sys.stdout.write("| detail | median error | largest | median kB | median seconds |\n|---|---|---|---|---|\n")
    for kind, values in rows.items():
        error, size, seconds = np.median(values, axis=0)
        worst = max(value for value, _, _ in values)
        sys.stdout.write(f"| {kind} | {error:.5f} | {worst:.5f} | {size:.1f} | {seconds:.1f} |\n")


if __name__ == "__main__":
    main()
