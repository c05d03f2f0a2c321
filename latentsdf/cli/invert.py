"""Fit codes to shapes."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from latentsdf.cli import common_args
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError, LatentSDFError, MeshError, MissingExtraError
from latentsdf.utils.output_folders import require_writable_output

if TYPE_CHECKING:
    import trimesh

    from latentsdf.latent.inversion.fit_folder import Inversion
    from latentsdf.latent.inversion.observation import Observation
    from latentsdf.latent.retrieval import Hits
    from latentsdf.space import ShapeSpace, Target


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "invert", run, "fit codes to meshes, point clouds, or signed samples")
    common_args.space(parser)
    what = (
        "mesh file, points (.ply without faces, .npy .npz .xyz .pts .txt .csv, normals where the file has them) or "
        ".npy of signed samples (N,4); several are fitted together"
    )
    parser.add_argument("target", type=Path, nargs="+", help=what)
    where = "folder for code.npy, mesh.ply, report.json; of several targets each gets a folder in it, by file name"
    parser.add_argument("--out", type=Path, required=True, help=where)
    common_args.inverting(parser)
    parser.add_argument("--one-code", action="store_true", help="no codes by layer: decode the one code alone")
    common_args.refining(parser)
    common_args.decoding(parser)
    parser.set_defaults(exit_code=lambda result: 1 if _nothing_fitted(result) else 0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry.pointcloud.io import load_mesh_or_points
    from latentsdf.latent.inversion.invert import BATCH_SIZE

    paths: list[Path] = arguments.target
    name, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{count} targets are called '{name}', so their folders would be one; rename them")
    alone = len(paths) == 1
    folders = {path: arguments.out if alone else arguments.out / path.stem for path in paths}
    for folder in folders.values():
        require_writable_output(folder, "fit", overwrite=True)
    space = common_args.load_space(arguments)
    config, refinement = (
        common_args.inversion(arguments, by_layer=not arguments.one_code),
        common_args.refinement(arguments),
    )
    targets: dict[Path, Target] = {}
    observations: dict[Path, Observation] = {}
    reports: dict[Path, dict[str, Any]] = {}
    for path in paths:
        try:
            target = load_mesh_or_points(path)
            if refinement is not None:
                space.require_refinable(target, config)
                targets[path] = target
            observations[path] = space.observe(target, config)
        except (MeshError, OSError) as error:
            if alone:
                raise
            reports[path] = _failed(path, error)
    for path in observations:
        common_args.require_folder(folders[path])
    # Batch by batch, so that what is done is written when a later one is interrupted.
    left = list(observations)
    while left:
        some, left = left[:BATCH_SIZE], left[BATCH_SIZE:]
        for path, fit in zip(some, space.invert_many([observations[p] for p in some], config), strict=True):
            try:
                if refinement is not None:
                    fit = space.refine(fit, targets[path], refinement)
                reports[path] = _keep(space, path, fit, folders[path], arguments)
            except (LatentSDFError, OSError) as error:
                if alone:
                    raise
                reports[path] = _failed(path, error)
    return reports[paths[0]] if alone else {path.stem: reports[path] for path in paths}


def _nothing_fitted(result: dict[str, Any]) -> bool:
    return all(isinstance(report, dict) and report.keys() == {"failed"} for report in result.values())


def _failed(target: Path, error: Exception) -> dict[str, Any]:
    """What stands in place of a report, where one of several targets fails."""
    reason = str(error).removeprefix(f"{target}: ").removeprefix(f"{target.name}: ")
    show_note("failed", f"{target.name}: {reason}")
    return {"failed": reason}


def _keep(
    space: "ShapeSpace", target: Path, fit: "Inversion", out: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Write the fit into a folder; returns its report. EmptyLevelSetError, after the rest, when it has no surface.

    What an older fit left there goes when its successor is at hand.
    """
    surface: trimesh.Trimesh | None = None
    empty: EmptyLevelSetError | None = None
    try:
        surface = space.extract(fit, arguments.resolution, arguments.mode)
    except EmptyLevelSetError as error:
        empty = error
    hits: Hits | None = None
    try:
        hits = space.nearest(fit, k=min(5, len(space.ids)))
    except MissingExtraError as error:
        show_note("no neighbours", str(error))
    report = fit.save(out, mesh=surface, target=target, nearest=hits)
    if empty is not None:
        raise empty
    verdict = "fits" if fit.ok else "does not fit well: the space may not hold this kind of shape"
    nearest = f", nearest {hits.ids[0]}" if hits else ""
    console.print(Text(f"{target.name} {verdict}; residual {fit.residual:.4f}{nearest}"))
    return report
