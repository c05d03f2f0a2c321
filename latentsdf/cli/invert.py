"""Fit codes to shapes."""

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.errors import ConfigError, MissingExtraError
from latentsdf.progress import console, show_note

if TYPE_CHECKING:
    from latentsdf.invert import Inversion
    from latentsdf.space import ShapeSpace


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "invert", run, "fit codes to meshes, point clouds, or signed samples")
    flags.space(parser)
    what = (
        "mesh file, points (.ply without faces, .npy .npz .xyz .pts .txt .csv, normals where the file has them) or "
        ".npy of signed samples (N,4); several are fitted together"
    )
    parser.add_argument("target", type=Path, nargs="+", help=what)
    where = "folder for code.npy, mesh.ply, report.json; of several targets each gets a folder in it, by file name"
    parser.add_argument("--out", type=Path, required=True, help=where)
    flags.inverting(parser)
    parser.add_argument("--one-code", action="store_true", help="no codes by layer: decode the one code alone")
    flags.refining(parser)
    flags.decoding(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry.cloud_files import load_target

    space = flags.load_space(arguments)
    paths: list[Path] = arguments.target
    name, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{count} targets are called '{name}', so their folders would be one; rename them")
    targets = [load_target(path) for path in paths]
    flags.require_folder(arguments.out)
    config = flags.inversion(arguments, by_layer=not arguments.one_code)
    fits = space.invert_many(targets, config, refinement=flags.refinement(arguments))
    if len(paths) == 1:
        return _keep(space, paths[0], fits[0], arguments.out, arguments)
    kept = {}
    for path, fit in zip(paths, fits, strict=True):
        kept[path.stem] = _keep(space, path, fit, arguments.out / path.stem, arguments)
    return kept


def _keep(
    space: "ShapeSpace", target: Path, fit: "Inversion", out: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Write the fit into a folder; returns its report."""
    import numpy as np

    from latentsdf.geometry import mesh as meshes

    out.mkdir(parents=True, exist_ok=True)
    # What an older fit had beside its code does not go with a new one.
    for name in (shapes.DELTA, shapes.LAYERS):
        (out / name).unlink(missing_ok=True)
    np.save(out / "code.npy", fit.code)
    if fit.layers is not None:
        np.save(out / shapes.LAYERS, fit.layers)
    if fit.delta is not None:
        fit.delta.save(out / shapes.DELTA)
    try:
        hits = dataclasses.asdict(space.nearest(fit, k=min(5, len(space.ids))))
    except MissingExtraError as error:
        hits = None
        show_note("no neighbours", str(error))
    report: dict[str, Any] = {
        "target": str(target),
        "residual": fit.residual,
        "ok": fit.ok,
        "by_layer": fit.layers is not None,
        "refined": fit.delta is not None,
        "nearest": hits,
        "history": [float(v) for v in fit.history],
        "similarity": dataclasses.asdict(fit.similarity),
        "space": space.fingerprint,
    }
    (out / "report.json").write_text(json.dumps(report, indent=1))
    meshes.save(space.extract(fit, arguments.resolution, arguments.mode), out / "mesh.ply")
    verdict = "fits" if fit.ok else "does not fit well: the space may not hold this kind of shape"
    nearest = f", nearest {hits['ids'][0]}" if hits else ""
    console.print(Text(f"{target.name} {verdict}; residual {fit.residual:.4f}{nearest}"))
    return report
