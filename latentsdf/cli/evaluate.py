"""Compare reconstructions with meshes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from latentsdf.cli import common_args
from latentsdf.cli.arg_types import positive, whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.config.inversion import InvertConfig
from latentsdf.geometry.metrics.surface import Reference
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "evaluate", run, "compare reconstructions with meshes, definitions stated")
    common_args.space(parser)
    parser.add_argument("--meshes", type=Path, required=True, help="folder of reference meshes, searched in depth")
    parser.add_argument("--split", type=Path, help="DeepSDF split file that selects them")
    parser.add_argument("--invert", action="store_true", help="unseen shapes: invert each mesh first")
    parser.add_argument("--one-code", action="store_true", help="invert by the one code alone, without codes by layer")
    common_args.refining(parser)
    parser.add_argument(
        "--fits", type=Path, help="folder of latentsdf invert: measure what it wrote, by name of the mesh"
    )
    parser.add_argument("--points", type=whole(1), default=100_000, help="surface samples a side (%(default)s)")
    parser.add_argument(
        "--taus", type=positive(), nargs="+", metavar="TAU", help="thresholds of the F-score, below 1 (0.01 0.02)"
    )
    parser.add_argument(
        "--reference",
        choices=get_args(Reference),
        default="samples",
        help="what of the meshes is compared with: samples, or their vertices as Compact-SDF does (%(default)s)",
    )
    common_args.seed(parser, "the samples")
    parser.add_argument("--out", type=Path, help="folder for metrics.json, metrics.csv and worst.png (the worst 12)")
    common_args.decoding(parser)
    parser.set_defaults(exit_code=lambda result: 0 if result["shapes"] else 1)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.data.mesh_datasets import find_meshes
    from latentsdf.evaluation.evaluate import evaluate, load_references
    from latentsdf.geometry.metrics.surface import F_SCORE_THRESHOLDS
    from latentsdf.latent.inversion.fit_folder import load_fits
    from latentsdf.rendering.sheets import comparison_sheet

    refinement = common_args.refinement(arguments)
    if refinement is not None and not arguments.invert:
        raise ConfigError("--refine goes with --invert; training shapes and fits have their detail already")
    if arguments.one_code and not arguments.invert:
        raise ConfigError("--one-code goes with --invert; training shapes have one code, fits what they were given")
    if arguments.invert and arguments.fits is not None:
        raise ConfigError("--fits measures what was inverted before; leave out --invert")
    common_args.require_folder(arguments.out)
    space = common_args.load_space(arguments)
    found = find_meshes(arguments.meshes, split=arguments.split)
    fits: dict[str, CodeLike] | None = None
    unread: dict[str, str] = {}
    if arguments.fits is not None:
        fitted, unread = load_fits(arguments.fits, {file.id for file in found}, space.fingerprint)
        fits = dict(fitted)
        found = [file for file in found if file.id in fits]
    references, failed = load_references(found)
    evaluation, reconstructions = evaluate(
        space,
        references,
        unseen=arguments.invert,
        resolution=arguments.resolution,
        mode=arguments.mode,
        points=arguments.points,
        seed=arguments.seed,
        taus=tuple(arguments.taus or F_SCORE_THRESHOLDS),
        against=arguments.reference,
        inversion=InvertConfig(by_layer=not arguments.one_code),
        refinement=refinement,
        fits=fits,
    )
    evaluation.failed.update(unread | failed)
    console.print(evaluation.table())
    for name, reason in evaluation.failed.items():
        show_note("not measured", f"{name}: {reason}")
    if arguments.out is not None:
        evaluation.save(arguments.out)
        worst = {name: references[name] for name in evaluation.worst(12)}
        if worst:
            comparison_sheet(worst, reconstructions).save(arguments.out / "worst.png")
    return evaluation.as_dict()
