"""The whole path on furniture made in code."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli import common_args
from latentsdf.cli.arg_types import positive, whole
from latentsdf.cli.parser import Verbs, verb


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "demo", run, "the whole path on furniture made in code: samples, training, uses, a report")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/demo"), help="folder of the report (%(default)s)")
    parser.add_argument("--minutes", type=positive(), default=4.5, help="training time (%(default)s)")
    parser.add_argument("--per-family", type=whole(1), default=40, help="training shapes of each family (%(default)s)")
    parser.add_argument("--workers", type=whole(0), default=0, help="preprocessing workers; 0 for one a core")
    common_args.seed(parser, "the training")
    common_args.device(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.cli.demo_pipeline import demo

    common_args.require_folder(arguments.out)
    return demo(
        arguments.out,
        minutes=arguments.minutes,
        per_family=arguments.per_family,
        workers=arguments.workers,
        seed=arguments.seed,
        device=arguments.device,
    )
