"""Fit a code to a shape."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.text import Text

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.errors import MissingExtraError
from latentsdf.progress import console, show_note


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "invert", run, "fit a code to a mesh, a point cloud, or signed samples")
    flags.space(parser)
    parser.add_argument("target", type=Path, help="mesh file, or .npy of points (N,3|6) or signed samples (N,4)")
    parser.add_argument("--out", type=Path, required=True, help="folder for code.npy, mesh.ply, report.json")
    flags.inverting(parser)
    flags.refining(parser)
    flags.decoding(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentsdf.geometry import mesh as meshes

    space = flags.load_space(arguments)
    target = shapes.read_target(arguments.target)
    fit = space.invert(target, flags.inversion(arguments), refinement=flags.refinement(arguments))
    arguments.out.mkdir(parents=True, exist_ok=True)
    # An older fit's delta does not go with a new code.
    (arguments.out / shapes.DELTA).unlink(missing_ok=True)
    np.save(arguments.out / "code.npy", fit.code)
    if fit.delta is not None:
        fit.delta.save(arguments.out / shapes.DELTA)
    try:
        hits = dataclasses.asdict(space.nearest(fit, k=min(5, len(space.ids))))
    except MissingExtraError as error:
        hits = None
        show_note("no neighbours", str(error))
    report: dict[str, Any] = {
        "target": str(arguments.target),
        "residual": fit.residual,
        "ok": fit.ok,
        "refined": fit.delta is not None,
        "nearest": hits,
        "history": [float(v) for v in fit.history],
        "similarity": dataclasses.asdict(fit.similarity),
    }
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    meshes.save(space.extract(fit, arguments.resolution, arguments.mode), arguments.out / "mesh.ply")
    verdict = "fits" if fit.ok else "does not fit well: the space may not hold this kind of shape"
    nearest = f", nearest {hits['ids'][0]}" if hits else ""
    console.print(Text(f"{arguments.target.name} {verdict}; residual {fit.residual:.4f}{nearest}"))
    return report
