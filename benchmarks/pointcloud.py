"""Accuracy of fields fitted to points: HotSpot's 14 planar shapes and meshes, against exact distances.

    python benchmarks/pointcloud.py 2d SHAPES_FOLDER --methods latentsdf hotspot --out 2d.json
    python benchmarks/pointcloud.py 2d SHAPES_FOLDER --methods heat sal eikonal area
    python benchmarks/pointcloud.py 3d MESHES_FOLDER --shapes bunny_closed spot --points 30000 --noise 0.005 --patches 3

2D shapes are .npz files with `surface_points`, `sdf_grid` [y, x] and `grid_axis`. Their IoU is over [-2, 2]^2; outside
the file's lattice every point with a negative distance counts as wrong. CD-L1-half, (mean a + mean b) / 2 of nearest
distances a and b, is between the vertices of the contours and the file's boundary points, in the file's units. Errors
in 3D are in model space, next to the sampling floor. The second command is HotSpot's planar ablation (`ABLATION`), with
its losses only, the published initialization and no guide. `--noise` is the standard deviation of normal noise as a
share of the bounding-box diagonal; `--patches` removes that many neighborhoods of 3 % of the points each.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from latentsdf.config import loader
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.mesh import load
from latentsdf.geometry.metrics.surface import sample_surface
from latentsdf.reconstruction.accuracy import measure_accuracy
from latentsdf.reconstruction.planar import load_truth, measure_planar
from latentsdf.reconstruction.plots import draw_distance
from latentsdf.reconstruction.presets import METHOD_NAMES, preset
from latentsdf.reconstruction.reconstruct import reconstruct
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.render import tracing_cost
from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError

PATCH = 0.03
PUBLISHED_2D = {"hotspot": (0.9870, 0.0014), "digs": (0.7882, 0.0055), "steik": (0.6620, 0.0073)}
"""Mean IoU and CD-L1-half over the 14 shapes (Wang et al. 2025), after 10,000 steps on a GPU."""


_UNGUIDED = {"train.steps": 4000, "loss.guide": [0.0], "model.start": "sphere", "model.radius": 0.2}
_NO_HEAT = _UNGUIDED | {"loss.heat": [0.0]}
ABLATION: dict[str, dict[str, Any]] = {
    # With heat from the first step on, small batches leave parts of nested shapes with the wrong sign.
    "heat": _UNGUIDED | {"loss.heat": [0.0, 0.2, 0.0, 0.3, 0.4, 0.8, 0.4, 0.9, 0.06, 0.04]},
    "sal": _NO_HEAT | {"loss.eikonal": [0.0], "loss.sign_agnostic": [10.0]},
    "eikonal": _NO_HEAT,
    # The weight relative to the boundary term is that of SIREN.
    "area": _NO_HEAT | {"loss.off_surface": [3.0]},
}
"""Settings of HotSpot's planar ablation that differ from its preset; all variants have the boundary term."""


def main() -> None:
    """Fit every shape with every method and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dimension", choices=("2d", "3d"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["latentsdf"], choices=(*METHOD_NAMES, *ABLATION))
    parser.add_argument("--shapes", nargs="+", help="names of shapes (default: all files)")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        help="settings that replace those of the preset: train.steps=100 'loss.heat=[0.0]'",
    )
    parser.add_argument("--points", type=int, default=30_000, help="3D: samples per mesh (default: %(default)s)")
    parser.add_argument("--normals", action="store_true", help="3D: pass the normals of the mesh with the points")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="standard deviation relative to the bounding-box diagonal"
    )
    parser.add_argument("--patches", type=int, default=0, help="number of removed neighborhoods (default: %(default)s)")
    parser.add_argument("--images", type=Path, help="folder for images of level sets")
    parser.add_argument("--out", type=Path, help="JSON file for all metrics")
    arguments = parser.parse_args()
    pattern, one = ("*.npz", _planar) if arguments.dimension == "2d" else ("*.ply", _solid)
    files = [f for f in sorted(arguments.folder.glob(pattern)) if not arguments.shapes or f.stem in arguments.shapes]
    rows: list[dict[str, Any]] = []
    for method in arguments.methods:
        config = _config(method, arguments)
        for path in files:
            started = time.monotonic()
            try:
                row = {"method": method, "shape": path.stem} | one(path, config, arguments)
            except LatentSDFError as error:
                row = {"method": method, "shape": path.stem, "failed": str(error)}
            rows.append(row | {"seconds": round(time.monotonic() - started, 1)})
            console.print(rows[-1])
            if arguments.out is not None:
                arguments.out.write_text(json.dumps(rows, indent=1))
        _summarize(method, rows, arguments.dimension)


def _config(method: str, arguments: argparse.Namespace) -> ReconstructConfig:
    dim = 2 if arguments.dimension == "2d" else 3
    values = asdict(preset("hotspot" if method in ABLATION else method, dim)) | {"method": method}
    given = {name: yaml.safe_load(value) for name, value in (setting.split("=", 1) for setting in arguments.set)}
    return loader.from_dict(ReconstructConfig, loader.merge(values, ABLATION.get(method, {}) | given), "--set")


def _observed(cloud: np.ndarray, noise: float, patches: int) -> np.ndarray:
    """Remove patches from a cloud (N, 2|3|6) and add noise to its points; normals stay exact."""
    rng = np.random.default_rng(0)
    dim = 2 if cloud.shape[1] == 2 else 3
    diagonal = np.linalg.norm(np.ptp(cloud[:, :dim], axis=0))
    patch = round(PATCH * len(cloud))
    for center in cloud[rng.integers(len(cloud), size=patches), :dim]:
        cloud = cloud[np.argsort(np.linalg.norm(cloud[:, :dim] - center, axis=1))[patch:]]
    moved = cloud[:, :dim] + noise * diagonal * rng.normal(size=(len(cloud), dim))
    return np.hstack((moved, cloud[:, dim:]))


def _planar(path: Path, config: ReconstructConfig, arguments: argparse.Namespace) -> dict[str, float]:
    truth = load_truth(path)
    result = reconstruct(_observed(truth.curve, arguments.noise, arguments.patches), config=config)
    _draw(result, path, config.method, arguments.images)
    accuracy = measure_planar(result, truth)
    wide = np.linspace(-2, 2, 401)
    beyond = np.stack(np.meshgrid(wide, wide, indexing="ij"), axis=-1).reshape(-1, 2)
    beyond = beyond[np.abs(beyond).max(1) > truth.axis[-1]]
    stray = (result.distance(beyond) < 0).sum() * (wide[1] - wide[0]) ** 2 / (truth.axis[1] - truth.axis[0]) ** 2
    union = ((result.distance(truth.lattice) < 0) | (truth.distance.ravel() < 0)).sum()
    errors = accuracy.field
    return {
        "iou": errors.iou * float(union / (union + stray)),
        "cd_l1_half": accuracy.curve.cd_l1_half,
        "floor_cd_l1_half": accuracy.floor.cd_l1_half,
        "hausdorff": accuracy.curve.hausdorff,
        "rmse": errors.rmse,
        "mae": errors.mae,
        "smape": errors.smape,
    }


def _solid(path: Path, config: ReconstructConfig, arguments: argparse.Namespace) -> dict[str, float]:
    truth = load(path)
    samples = sample_surface(truth, arguments.points, seed=0)
    cloud = np.hstack((samples.points, samples.normals)) if arguments.normals else samples.points
    started = time.monotonic()
    result = reconstruct(_observed(cloud, arguments.noise, arguments.patches), config=config)
    fitted = time.monotonic() - started
    _draw(result, path, config.method, arguments.images)
    accuracy = measure_accuracy(result, result.mesh(256), truth, n=30_000)
    surface = accuracy.surface
    nearest, floor = surface.nearest, surface.floor
    return accuracy.field.as_dict() | {
        "fit_seconds": round(fitted, 1),
        "cd_l1_half": nearest.cd_l1_half,
        "floor_cd_l1_half": floor.cd_l1_half,
        "over_floor": nearest.cd_l1_half / floor.cd_l1_half,
        "hausdorff": nearest.hausdorff,
        "normal_consistency": surface.normal_consistency,
        "normal_error": accuracy.normal_error,
        "tracing_steps": tracing_cost(result.model_space_distance, device=result.device).mean,
    }


def _draw(result: Reconstruction, path: Path, method: str, folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw_distance(result, size=400).save(folder / f"{path.stem}_{method}.png")


def _summarize(method: str, rows: list[dict[str, Any]], dimension: str) -> None:
    done = [row for row in rows if row["method"] == method and "failed" not in row]
    if not done:
        return
    mean = {name: float(np.mean([row[name] for row in done])) for name in done[0] if name not in ("method", "shape")}
    console.print({"method": method, "shapes": len(done)} | {name: round(value, 5) for name, value in mean.items()})
    if dimension == "2d" and method in PUBLISHED_2D:
        console.print(f"published for {method}: IoU {PUBLISHED_2D[method][0]}, CD-L1-half {PUBLISHED_2D[method][1]}")


if __name__ == "__main__":
    main()
