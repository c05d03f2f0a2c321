"""One field from one raw point cloud, without a shape space."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.config import ReconstructMethod
from latentsdf.errors import ConfigError, MeshError
from latentsdf.progress import console

if TYPE_CHECKING:
    import numpy as np

    from latentsdf.config import ReconstructConfig

_TABLES = {".txt": None, ".xyz": None, ".pts": None, ".csv": ","}


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "reconstruct", run, "a signed distance field from one raw point cloud, in 2D or 3D")
    parser.set_defaults(accepts_overrides=True)
    parser.epilog = "any setting of ReconstructConfig can follow, e.g. --lr 0.001 --loss.heat '[1.0, 0.5, 0.1, 0.1]'"
    parser.add_argument("points", type=Path, help=".npy .txt .xyz .csv of (N,2|3|6), or a .ply or .obj of points")
    parser.add_argument("--method", choices=get_args(ReconstructMethod), default="latentsdf", help="(%(default)s)")
    parser.add_argument("--paper", action="store_true", help="published sizes; the default is sized for two CPU cores")
    parser.add_argument("--out", type=Path, required=True, help="folder for the field, mesh, pictures and report.json")
    parser.add_argument("--steps", type=int, help="optimization steps")
    parser.add_argument("--minutes", type=float, help="wall-clock budget of the steps")
    parser.add_argument("--resolution", type=int, default=256, help="cells per axis of the mesh (%(default)s)")
    parser.add_argument("--truth", type=Path, help="closed mesh the points came from: report how far the result is off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry import mesh as meshes
    from latentsdf.reconstruction import reconstruct
    from latentsdf.reconstruction.measure import measure
    from latentsdf.reconstruction.picture import level_sets, phase

    points = _read(arguments.points)
    config = _config(arguments, 2 if points.shape[1] == 2 else 3)
    truth = None if arguments.truth is None else meshes.load(arguments.truth)
    flags.require_folder(arguments.out)
    result = reconstruct(points, config=config, device=arguments.device)
    result.save(arguments.out)
    report: dict[str, Any] = {"points": str(arguments.points), "method": arguments.method, "last": result.history[-1:]}
    if result.dim == 3:
        mesh = result.mesh(arguments.resolution)
        meshes.save(mesh, arguments.out / "mesh.ply")
        for axis, name in enumerate("xyz"):
            level_sets(result, axis=axis).save(arguments.out / f"slice_{name}.png")
        if truth is not None:
            report["accuracy"] = measure(result, mesh, truth).as_dict()
    else:
        level_sets(result).save(arguments.out / "slice.png")
        lines = result.contours(4 * arguments.resolution)
        (arguments.out / "contours.json").write_text(json.dumps([line.tolist() for line in lines]))
    if result.phase_field is not None:
        phase(result).save(arguments.out / "phase.png")
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    console.print(f"{arguments.out}: {arguments.method}, {result.history[-1]['step']:,} steps")
    return report


def _config(arguments: argparse.Namespace, dim: int) -> "ReconstructConfig":
    from latentsdf import settings
    from latentsdf.config import ReconstructConfig
    from latentsdf.reconstruction import preset

    if arguments.truth is not None and dim == 2:
        raise ConfigError("--truth is a mesh and goes with 3D points")
    base = dataclasses.asdict(preset(arguments.method, dim, arguments.paper))
    overrides = dict(arguments.overrides) | {"seed": arguments.seed}
    for name in ("minutes", "steps"):
        if getattr(arguments, name) is not None:
            overrides[name] = getattr(arguments, name)
    if arguments.minutes is not None and arguments.steps is None:
        overrides.setdefault("steps", 10_000_000)
    return settings.from_dict(ReconstructConfig, settings.merge(base, overrides), "command line")


def _read(path: Path) -> "np.ndarray":
    import numpy as np
    import trimesh

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array = shapes.read_array(path)
        elif suffix in _TABLES:
            array = np.loadtxt(path, delimiter=_TABLES[suffix], ndmin=2)
        elif suffix in (".ply", ".obj"):
            array = np.asarray(trimesh.load(path, process=False).vertices)  # type: ignore[union-attr]
        else:
            raise MeshError(f"{path.name}: points are read from .npy, .txt, .xyz, .pts, .csv, .ply and .obj")
    except (ValueError, AttributeError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(f"{path.name}: no table of points ({error!r:.120})") from error
    if array.ndim != 2:
        raise MeshError(f"{path.name}: expected points (N, 2), (N, 3) or (N, 6), got shape {array.shape}")
    return np.asarray(array)
