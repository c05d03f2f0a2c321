"""One field from one raw point cloud, without a shape space."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from latentsdf.cli import common_args
from latentsdf.cli.arg_types import positive, resolution
from latentsdf.cli.parser import Verbs, verb
from latentsdf.config.reconstruction import ReconstructMethod
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import CheckpointError, ConfigError
from latentsdf.utils.output_folders import require_writable_output

if TYPE_CHECKING:
    import trimesh

    from latentsdf.config.reconstruction import ReconstructConfig
    from latentsdf.reconstruction.planar import PlanarTruth

_UNFINISHED = "unfinished.pt"


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    note = "any setting of ReconstructConfig can follow, e.g. --train.clip 1 --loss.heat '[1.0, 0.5, 0.1, 0.1]'"
    parser = verb(verbs, "reconstruct", run, "a signed distance field from one raw point cloud, in 2D or 3D", note)
    parser.set_defaults(accepts_overrides=True)
    parser.add_argument("points", type=Path, help="points (N,2|3|6): .npy .npz .txt .xyz .pts .csv .ply .obj")
    parser.add_argument("--method", choices=get_args(ReconstructMethod), help="latentsdf if not given")
    parser.add_argument("--paper", action="store_true", help="published sizes; the default is sized for two CPU cores")
    parser.add_argument("--out", type=Path, required=True, help="folder for the field, mesh, pictures and report.json")
    parser.add_argument("--config", type=Path, help="YAML instead of --method, such as the config.yaml of a result")
    parser.add_argument("--overwrite", action="store_true", help="replace the reconstruction in --out")
    parser.add_argument("--resume", action="store_true", help="go on with the stopped run in --out")
    parser.add_argument("--steps", type=int, help="optimization steps")
    parser.add_argument("--minutes", type=positive(), help="wall-clock budget of the steps")
    parser.add_argument("--resolution", type=resolution, default=256, help="cells per axis of the mesh (%(default)s)")
    parser.add_argument(
        "--truth",
        type=Path,
        help="report how far the result is off what the points came from: a closed mesh, "
        "in 2D an .npz with sdf_grid, grid_axis and surface_points",
    )
    common_args.seed(parser, "the start and the draws")
    common_args.device(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit the field and write its folder; returns the content of `report.json`."""
    from latentsdf.geometry import mesh as meshes
    from latentsdf.geometry.pointcloud.io import load_points
    from latentsdf.reconstruction.planar import load_truth
    from latentsdf.reconstruction.reconstruct import reconstruct
    from latentsdf.reconstruction.report import remove_results, write_results

    points = load_points(arguments.points)
    config = _config(arguments, 2 if points.shape[1] == 2 else 3)
    if points.shape[1] == 6 and not any(config.loss.normals):
        show_note("normals", f"{arguments.points} has some, which '{config.method}' makes no use of")
    truth: trimesh.Trimesh | PlanarTruth | None = None
    if arguments.truth is not None:
        truth = load_truth(arguments.truth) if points.shape[1] == 2 else meshes.load(arguments.truth)
    _require_free(arguments)
    common_args.require_folder(arguments.out)
    unfinished = arguments.out / _UNFINISHED
    if not arguments.resume:
        unfinished.unlink(missing_ok=True)
    result = reconstruct(points, config=config, device=arguments.device, checkpoint=unfinished)
    remove_results(arguments.out)
    result.save(arguments.out)
    unfinished.unlink(missing_ok=True)
    report = write_results(
        result, arguments.out, resolution=arguments.resolution, truth=truth, source=str(arguments.points)
    )
    console.print(f"{arguments.out}: {config.method}, {result.history[-1]['step']:,} steps")
    return report


def _require_free(arguments: argparse.Namespace) -> None:
    """CheckpointError where a finished or a stopped run would be lost, or there is none to go on with."""
    stopped = (arguments.out / _UNFINISHED).is_file()
    if arguments.resume and not stopped:
        raise CheckpointError(f"{arguments.out}: holds no stopped reconstruction to go on with; leave --resume out")
    if stopped and not (arguments.resume or arguments.overwrite):
        raise CheckpointError(
            f"{arguments.out}: holds a stopped reconstruction; pass --resume to go on, --overwrite to start again, or "
            "another --out"
        )
    require_writable_output(arguments.out, "field", overwrite=arguments.overwrite or arguments.resume)


def _config(arguments: argparse.Namespace, dim: int) -> "ReconstructConfig":
    from latentsdf.config import loader
    from latentsdf.config.reconstruction import ReconstructConfig
    from latentsdf.reconstruction.presets import preset

    if arguments.config is not None:
        if arguments.method is not None or arguments.paper:
            raise ConfigError("--config says everything; leave --method and --paper out")
        base = dataclasses.asdict(loader.load(ReconstructConfig, arguments.config))
    else:
        base = dataclasses.asdict(preset(arguments.method or "latentsdf", dim, arguments.paper))
    useless = "loss." if base["method"] == "medial_axis" else "medial."
    unused = [name for name in arguments.overrides if name.startswith(useless)]
    if unused:
        raise ConfigError(f"'{base['method']}' makes no use of {' and '.join(unused)}; leave it out")
    overrides = dict(arguments.overrides)
    if arguments.config is None or arguments.seed:
        overrides["train.seed"] = arguments.seed
    for name in ("minutes", "steps"):
        if getattr(arguments, name) is not None:
            overrides[f"train.{name}"] = getattr(arguments, name)
    if arguments.minutes is not None and arguments.steps is None:
        overrides.setdefault("train.steps", 10_000_000)
    return loader.from_dict(ReconstructConfig, loader.merge(base, overrides), "command line")
