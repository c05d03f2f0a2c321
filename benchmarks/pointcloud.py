"""Fields from raw points: the 14 planar shapes of HotSpot's table and six meshes, each method against exact distances.

    python benchmarks/pointcloud.py 2d SHAPES_FOLDER --methods latentsdf hotspot --out 2d.json
    python benchmarks/pointcloud.py 2d SHAPES_FOLDER --methods heat sal eikonal area
    python benchmarks/pointcloud.py 3d MESHES_FOLDER --shapes bunny_closed spot --points 30000 --noise 0.005 --patches 3

Planar shapes are .npz files with `surface_points`, `sdf_grid` [y, x] and `grid_axis`. IoU there is over [-2, 2]^2: the
file's lattice, and whatever is called inside beyond it counts as wrong. CD-L1-half is between the vertices of the
contours and the file's boundary points, in the file's units. In 3D figures are in model space, with the sampling floor.
The second line is HotSpot's planar ablation (`ABLATION`): its losses alone, from the published start, nothing guided.
Noise is normal, its standard deviation a share of the bounding box's diagonal; a patch is 3 % of the points, about one.
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
from latentsdf.reconstruction.measure import measure
from latentsdf.reconstruction.planar import load_truth, measure_planar
from latentsdf.reconstruction.plots import level_sets
from latentsdf.reconstruction.presets import METHODS, preset
from latentsdf.reconstruction.reconstruct import reconstruct
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.render import tracing_cost
from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError

PATCH = 0.03
PUBLISHED_2D = {"hotspot": (0.9870, 0.0014), "digs": (0.7882, 0.0055), "steik": (0.6620, 0.0073)}
"""IoU and CD-L1-half over the 14 shapes (TABLES 2), as published: 10,000 steps on a GPU."""


_ALONE = {"steps": 4000, "loss.guide": [0.0], "network.start": "sphere", "network.radius": 0.2}
_NO_HEAT = _ALONE | {"loss.heat": [0.0]}
ABLATION: dict[str, dict[str, Any]] = {
    # Heat from the first step on keeps parts of nested shapes on the wrong side in batches as small as these.
    "heat": _ALONE | {"loss.heat": [0.0, 0.2, 0.0, 0.3, 0.4, 0.8, 0.4, 0.9, 0.06, 0.04]},
    "sal": _NO_HEAT | {"loss.eikonal": [0.0], "loss.sign_agnostic": [10.0]},
    "eikonal": _NO_HEAT,
    # SIREN's share of the boundary term.
    "area": _NO_HEAT | {"loss.off_surface": [3.0]},
}
"""Beside the boundary term, lines of HotSpot's planar ablation as changes of its preset."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dimension", choices=("2d", "3d"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["latentsdf"], choices=(*METHODS, *ABLATION))
    parser.add_argument("--shapes", nargs="+", help="names; all files by default")
    parser.add_argument(
        "--set", nargs="*", default=[], help="settings instead of the preset's: steps=100 'loss.heat=[0.0]'"
    )
    parser.add_argument("--points", type=int, default=30_000, help="3D: samples of each mesh (%(default)s)")
    parser.add_argument("--normals", action="store_true", help="3D: points with the mesh's normals")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, of the bounding-box diagonal")
    parser.add_argument("--patches", type=int, default=0, help="so many patches of the cloud are missing (%(default)s)")
    parser.add_argument("--pictures", type=Path, help="folder for level sets")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
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
    """The cloud (N, 2|3|6) as a scanner might have it: normals stay exact."""
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
    _draw(result, path, config.method, arguments.pictures)
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
    _draw(result, path, config.method, arguments.pictures)
    accuracy = measure(result, result.mesh(256), truth, n=30_000)
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
        "tracing_steps": tracing_cost(result.in_model_space, device=result.device).mean,
    }


def _draw(result: Reconstruction, path: Path, method: str, folder: Path | None) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        level_sets(result, size=400).save(folder / f"{path.stem}_{method}.png")


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
