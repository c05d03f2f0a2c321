r"""Reconstruction quality of all presets after equal training time, on training shapes and on unseen shapes.

Training goes in turns of a few minutes, so that a machine that slows down does so for every preset; the schedule of a
run follows its own clock, which counts its steps alone. Everything is kept under --out: the same command continues
where it was stopped, and measures what is not measured yet. Prints and writes (results.json, results.md) the
point-to-triangle distance (mean of both ways), 1 - normal consistency, CD-sq-sum and its floor, each the mean over
shapes, for the general branch alone, the overfit branch alone and both fused. Unseen shapes are inverted by one code
(`unseen`), and by one for each layer that reads it, as `latentsdf invert` ends (`unseen_by_layer`).

What is measured against is the surface of the solid that a mesh stands for, decoded from its exact distances at the
same resolution: sheets have a thickness there, and hidden walls, which no distance can resolve, are absent.

python benchmarks/quality.py --data chairs.zarr --meshes furniture --train chair_train.json --test chair_test.json \\
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
ONE_CODE = InvertConfig(by_layer=False)
MODES: tuple[Mode, ...] = ("general", "overfit", "fused")
FIGURES = ("triangle_mean", "normal_error", "cd_sq_sum", "floor_cd_sq_sum")


def timed_config(preset: str, minutes: float, overrides: Mapping[str, object]) -> Config:
    """A preset that trains for so many minutes, whatever the steps."""
    path = Path(__file__).parents[1] / "configs" / f"{preset}.yaml"
    return loader.load(Config, path, {"train.minutes": minutes, "train.steps": 10_000_000} | dict(overrides))


def train_in_turns(
    configs: Mapping[str, Config], store: SampleStore, out: Path, turns: int, device: str
) -> dict[str, str]:
    """Give every configuration its minutes of training steps in so many rounds, each in its folder under `out`.

    Returns those whose training failed with the reason; the others go on.
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
    """Begin or continue a run until its clock says `end` seconds, and save it."""
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
    """Figures by mode, the mean over the shapes and each shape's own; a space of one branch has one mode.

    With `inversion` codes are found from the references; all codes are measured against the solids.
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
    """The means as Markdown, a line for each preset and mode."""
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
    """Cleaned meshes of a split by name, or so many of them spread over it."""
    found = find_meshes(folder, split=split)
    step = len(found) / min(limit or len(found), len(found))
    loaded, failed = load_references([found[int(i * step)] for i in range(round(len(found) / step))])
    for name, reason in failed.items():
        show_note("not measured", f"{name}: {reason}")
    return {name: meshes.clean(mesh)[0] for name, mesh in loaded.items()}


def solid_surface(mesh: trimesh.Trimesh, resolution: int) -> trimesh.Trimesh:
    """The surface of the solid that a mesh stands for, as stores hold it by default; in the mesh's own frame."""
    stored = SamplingConfig()
    model_mesh, similarity = meshes.normalize(mesh, stored.normalization)
    solid = solid_from_config(model_mesh, stored)
    solid.full_lattice(resolution // 2)  # settles the sign of most points

    def distance(points: Tensor) -> Tensor:
        return torch.from_numpy(solid(points.double().numpy())).float()

    surface = extract(distance, resolution=resolution)
    surface.vertices = similarity.to_user(surface.vertices)
    return surface


def solid_surfaces(references: dict[str, trimesh.Trimesh], folder: Path, resolution: int) -> dict[str, trimesh.Trimesh]:
    """Those of all references, kept in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with track("surfaces to measure against", total=len(references), unit="shape") as advance:
        for name, mesh in references.items():
            if not (folder / f"{name}.ply").is_file():
                solid_surface(mesh, resolution).export(folder / f"{name}.ply")
            advance()
    return {name: meshes.load(folder / f"{name}.ply") for name in references}


def common_parser(
    about: str | None, *, minutes: float, turns: int, points: int, limit: int | None = None
) -> argparse.ArgumentParser:
    """The flags of a benchmark that trains on one split and measures on two, with its defaults."""
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
    parser.add_argument("--limit", type=int, default=limit, help="measure so many shapes of a split, spread over it")
    parser.add_argument("--device", default="auto")
    return parser


def main() -> None:
    """Train what is not trained, measure what is not measured, print the table."""
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
        "unseen_by_layer": (arguments.test, InvertConfig()),
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
