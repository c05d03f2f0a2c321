"""Train a shape space."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from latentsdf.cli.verbs import Verbs, verb


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "train", run, "train a shape space on a sample store")
    parser.set_defaults(accepts_overrides=True)
    parser.epilog = "any setting of the configuration can follow as --section.key VALUE, e.g. --parser.lr_grid 0.01"
    parser.add_argument("--data", type=Path, required=True, help="sample store written by latentsdf-preprocess")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--config", type=Path, help="YAML file that lists what differs from the defaults")
    parser.add_argument("--minutes", type=float, help="wall-clock budget of the training loop")
    parser.add_argument("--steps", type=int, help="number of optimization steps")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--overwrite", action="store_true", help="replace the space in --out")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="auto")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf import settings
    from latentsdf.checkpoint import load_config
    from latentsdf.config import Config
    from latentsdf.train import train

    overrides = dict(arguments.overrides)
    for name in ("minutes", "steps", "seed"):
        if getattr(arguments, name) is not None:
            overrides[f"train.{name}"] = getattr(arguments, name)
    if arguments.minutes is not None and arguments.steps is None:
        overrides.setdefault("train.steps", 10_000_000)
    if arguments.config is not None:
        config = settings.load(Config, arguments.config, overrides)
    else:
        base = dataclasses.asdict(load_config(arguments.out)) if arguments.resume else {}
        config = settings.from_dict(Config, settings.merge(base, overrides), "command line")
    return train(
        arguments.data,
        arguments.out,
        config,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        device=arguments.device,
    )
