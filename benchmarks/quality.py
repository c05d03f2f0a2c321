r"""Reconstruction quality of all presets after equal training time, on training shapes and on unseen shapes.

Presets are trained in alternating turns of a few minutes, so that changes in the load of the machine affect all of
them. Only the time of training steps counts toward the budget and the schedules of a preset. Results are stored under
--out; running the same command again continues the training and measures only what is missing.

The output (results.json, results.md) lists, for the general branch alone, the overfit branch alone and both fused, the
means over shapes of the point-to-triangle distance (mean of both directions), 1 - normal consistency, CD-sq-sum and the
sampling floor of CD-sq-sum. Unseen shapes are inverted with one code (`unseen`) and with one code per conditioned
layer, the default of `latentsdf invert` (`unseen_by_layer`).

The reference is the surface of the solid that a mesh bounds, extracted from its exact distances at the same resolution.
It contains sheets with their thickness and no hidden walls, which do not affect the distances.

python benchmarks/quality.py --data chairs.zarr --meshes furniture --train chair_train.json --test chair_test.json \
    --out quality/chairs [--minutes 20] [--turns 4] [--presets deepsdf_cpu compact_sdf_cpu latentsdf_cpu]
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import trimesh
from torch import Tensor

import latentsdf as ls
from latentsdf.config import loader
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config
from latentsdf.data.mesh_datasets import find_meshes
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.evaluation.evaluate import load_references, measure
from latentsdf.extraction.extract import Mode, extract
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.space import CodeLike, ShapeSpace, Target
from latentsdf.training import checkpoint
from latentsdf.training.train import save
from latentsdf.training.trainer import Trainer
from latentsdf.utils import devices
from latentsdf.utils.console import console, show_note, track
from latentsdf.utils.errors import TrainingError
from latentsdf.utils.malloc import keep_freed_memory

PRESETS = ("deepsdf_cpu", "compact_sdf_cpu", "igr_cpu", "latentsdf_cpu")
ONE_CODE = InvertConfig(by_layer=False, assess=False)
MODES: tuple[Mode, ...] = ("general", "overfit", "fused")
FIGURES = ("triangle_mean", "normal_error", "cd_sq_sum", "floor_cd_sq_sum")


def timed_config(preset: str, minutes: float, overrides: Mapping[str, object]) -> Config:
    """Load a preset with a budget in minutes and no limit on the number of steps."""
    path = Path(__file__).parents[1] / "configs" / f"{preset}.yaml"
    return loader.load(Config, path, {"train.minutes": minutes, "train.steps": 10_000_000} | dict(overrides))


def train_in_turns(
    configs: Mapping[str, Config], store: SampleStore, out: Path, turns: int, device: str
) -> dict[str, str]:
    """Train every configuration for its minutes in alternating turns, each in a folder of its name under `out`.

    Returns:
        The reason for the failure of each configuration whose training failed; the others are trained to the end.
    """
    failed: dict[str, str] = {}
    for turn in range(1, turns + 1):
        for name, config in configs.items():
            end = 60 * config.train.minutes * turn / turns
            if name in failed or _seconds(out / name) >= end:
                continue
            try:
                _train_until(end, config, store, out / name, device)
            except TrainingError as error:
                failed[name] = str(error)
                show_note("not trained", f"{name}: {error}")
    return failed


def _train_until(end: float, config: Config, store: SampleStore, folder: Path, device: str) -> None:
    """Start or continue a run until its training steps have taken `end` seconds in total, and save it."""
    where = devices.resolve(device)
    pool = ShapeSamplePool(store, store.keys(), config.train, config.loss, device=where)
    with Trainer(pool, config, where) as run:
        if (folder / "state.pt").is_file():
            run.load(checkpoint.load(folder), checkpoint.load_state(folder))
        pool.fill(run.step)
        while run.seconds < end:
            started = time.monotonic()
            run.train_step()
            run.seconds += time.monotonic() - started
        save(run, folder)
        console.print(f"{folder.name}: {run.seconds / 60:.1f} of {config.train.minutes:g} min, step {run.step:,}")


def _seconds(folder: Path) -> float:
    return float(checkpoint.load_state(folder)["seconds"]) if (folder / "state.pt").is_file() else 0.0


def measure_split(
    space: ShapeSpace,
    references: Mapping[str, Target],
    solids: dict[str, trimesh.Trimesh],
    inversion: InvertConfig | None,
    resolution: int,
    points: int,
    modes: Sequence[Mode] = MODES,
) -> dict[str, dict[str, object]]:
    """Measure shapes against their solids in each mode; a space with one branch has only the mode `general`.

    With `inversion`, codes are fitted to the references; without it, the codes of the training shapes are used.

    Returns:
        By mode: the number of measured and failed shapes, the mean of each metric, and the metrics of each shape.
    """
    codes: dict[str, CodeLike]
    if inversion is not None:
        codes = dict(zip(references, space.invert_many(list(references.values()), inversion), strict=True))
    else:
        codes = {name: name for name in references if name in space.ids or name in space.keys}
    found: dict[str, dict[str, object]] = {}
    for mode in modes if space.model.overfit is not None else MODES[:1]:
        evaluation, _ = measure(space, codes, solids, resolution=resolution, mode=mode, points=points)
        for name, reason in evaluation.failed.items():
            show_note("not measured", f"{name}, {mode}: {reason}")
        shapes = {
            name: {
                "triangle_mean": (c.to_reference_mean + c.to_reconstruction_mean) / 2,
                "normal_error": 1 - c.normal_consistency,
                "cd_sq_sum": c.nearest.cd_sq_sum,
                "floor_cd_sq_sum": c.floor.cd_sq_sum,
            }
            for name, c in evaluation.shapes.items()
        }
        count = max(1, len(shapes))
        mean = {figure: sum(shape[figure] for shape in shapes.values()) / count for figure in FIGURES}
        found[mode] = {"shapes": len(shapes), "failed": len(evaluation.failed), "mean": mean, "each": shapes}
    return found


def table(results: dict[str, dict[str, dict[str, dict]]]) -> str:  # type: ignore[type-arg]
    """Format the means as a Markdown table with a row per preset, split and mode."""
    head = "| preset | branch | split | shapes | point to triangle | 1 - normal consistency | CD-sq-sum | its floor |"
    lines = [head, "|" + "---|" * 8]
    for preset, splits in results.items():
        for split, modes in splits.items():
            for mode, figures in modes.items():
                count = f"{figures['shapes']}" + (f" ({figures['failed']} failed)" if figures["failed"] else "")
                means = " | ".join(f"{figures['mean'][name]:.3g}" for name in FIGURES)
                lines.append(f"| {preset} | {mode} | {split} | {count} | {means} |")
    return "\n".join(lines)


def references_of(folder: Path, split: Path, limit: int | None) -> dict[str, trimesh.Trimesh]:
    """Load and clean the meshes of a split, by name; with `limit`, that many at equal intervals."""
    found = find_meshes(folder, split=split)
    step = len(found) / min(limit or len(found), len(found))
    loaded, failed = load_references([found[int(i * step)] for i in range(round(len(found) / step))])
    for name, reason in failed.items():
        show_note("not measured", f"{name}: {reason}")
    return {name: meshes.clean(mesh)[0] for name, mesh in loaded.items()}


def solid_surface(mesh: trimesh.Trimesh, resolution: int) -> trimesh.Trimesh:
    """Extract the surface of the solid that a mesh bounds, with default sampling settings, in the frame of the mesh."""
    stored = SamplingConfig()
    model_mesh, similarity = meshes.normalize(mesh, stored.normalization)
    solid = solid_from_config(model_mesh, stored)
    solid.full_lattice(resolution // 2)  # its signs are reused for most points

    def distance(points: Tensor) -> Tensor:
        return torch.from_numpy(solid(points.double().numpy())).float()

    surface = extract(distance, resolution=resolution)
    surface.vertices = similarity.to_user(surface.vertices)
    return surface


def solid_surfaces(references: dict[str, trimesh.Trimesh], folder: Path, resolution: int) -> dict[str, trimesh.Trimesh]:
    """Load the solid surfaces of all references from a folder, after extracting those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with track("reference surfaces", total=len(references), unit="shape") as advance:
        for name, mesh in references.items():
            if not (folder / f"{name}.ply").is_file():
                solid_surface(mesh, resolution).export(folder / f"{name}.ply")
            advance()
    return {name: meshes.load(folder / f"{name}.ply") for name in references}


def common_parser(
    about: str | None, *, minutes: float, turns: int, points: int, limit: int | None = None
) -> argparse.ArgumentParser:
    """Create the parser of a benchmark that trains on one split and measures on two."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="store of the training split")
    parser.add_argument("--meshes", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True, help="split file of the shapes in the store")
    parser.add_argument("--test", type=Path, required=True, help="split file of unseen shapes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--turns", type=int, default=turns)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--points", type=int, default=points)
    parser.add_argument(
        "--limit",
        type=int,
        default=limit,
        help="number of shapes measured per split, at equal intervals (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto")
    return parser


def main() -> None:
    """Train and measure the presets as far as results are missing, and print the table."""
    parser = common_parser(__doc__, minutes=20.0, turns=4, points=100_000)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keep_freed_memory()
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = SampleStore.open(arguments.data)
    seed = {"train.seed": arguments.seed}
    configs = {preset: timed_config(preset, arguments.minutes, seed) for preset in arguments.presets}
    failed = train_in_turns(configs, store, arguments.out, arguments.turns, arguments.device)
    presets = [preset for preset in arguments.presets if preset not in failed]
    splits = {
        "train": (arguments.train, None),
        "unseen": (arguments.test, ONE_CODE),
        "unseen_by_layer": (arguments.test, InvertConfig(assess=False)),
    }
    files = (arguments.train, arguments.test)
    references = {file: references_of(arguments.meshes, file, arguments.limit) for file in files}
    everything = references[arguments.train] | references[arguments.test]
    solids = solid_surfaces(everything, arguments.out / f"solids_{arguments.resolution}", arguments.resolution)
    results: dict[str, dict[str, dict[str, dict]]] = {preset: {} for preset in presets}  # type: ignore[type-arg]
    for split, (file, inversion) in splits.items():
        for preset in presets:
            kept = arguments.out / preset / f"quality_{split}.json"
            if not kept.is_file() or kept.stat().st_mtime < (arguments.out / preset / "state.pt").stat().st_mtime:
                space = ls.load(arguments.out / preset, arguments.device)
                found = measure_split(
                    space, references[file], solids, inversion, arguments.resolution, arguments.points
                )
                kept.write_text(json.dumps(found, indent=1))
            results[preset][split] = json.loads(kept.read_text())
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1))
    (arguments.out / "results.md").write_text(table(results) + "\n")
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
