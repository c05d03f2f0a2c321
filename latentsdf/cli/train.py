"""Train a shape space."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from latentsdf.cli import common_args
from latentsdf.cli.arg_types import positive
from latentsdf.cli.parser import Verbs, verb

_EXTENDING_STEPS = 2_000


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    note = "any setting of the configuration can follow as --section.key VALUE, e.g. --train.lr_grid 0.01"
    parser = verb(verbs, "train", run, "train a shape space on a sample store", note)
    parser.set_defaults(accepts_overrides=True)
    parser.add_argument("--data", type=Path, required=True, help="sample store written by latentsdf-preprocess")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--config", type=Path, help="YAML file that lists what differs from the defaults")
    parser.add_argument("--minutes", type=positive(), help="wall-clock budget of the training loop")
    parser.add_argument("--steps", type=int, help="number of optimization steps")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--extend", type=Path, metavar="SPACE", help="add the shapes of --data to this space: new codes"
    )
    parser.add_argument("--fine-tune", action="store_true", help="with --extend: networks and grid learn too")
    parser.add_argument("--overwrite", action="store_true", help="replace the space in --out")
    parser.add_argument("--seed", type=int, help="of the start and the draws; same seed, same loss")
    common_args.device(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from latentsdf.config import loader
    from latentsdf.config.training import Config
    from latentsdf.training import distributed
    from latentsdf.training.checkpoint import load_config
    from latentsdf.training.extend import extend
    from latentsdf.training.train import train
    from latentsdf.utils.errors import ConfigError

    if arguments.extend is not None and (arguments.resume or arguments.config is not None):
        raise ConfigError("--extend takes the settings of its space; leave --resume and --config out")
    if arguments.fine_tune and arguments.extend is None:
        raise ConfigError("--fine-tune goes with --extend SPACE")
    overrides = dict(arguments.overrides)
    for name in ("minutes", "steps", "seed"):
        if getattr(arguments, name) is not None:
            overrides[f"train.{name}"] = getattr(arguments, name)
    if arguments.minutes is not None and arguments.steps is None:
        overrides.setdefault("train.steps", 10_000_000)
    if arguments.extend is not None:
        base = dataclasses.asdict(load_config(arguments.extend))
        # The budget is a new one; that of the space's own training is spent.
        overrides = {"train.minutes": 0.0, "train.epochs": 0, "train.steps": _EXTENDING_STEPS} | overrides
        config = loader.from_dict(Config, loader.merge(base, overrides), "command line")
        common_args.require_folder(arguments.out)
        return extend(
            arguments.extend,
            arguments.data,
            arguments.out,
            config,
            fine_tune=arguments.fine_tune,
            overwrite=arguments.overwrite,
            device=arguments.device,
        )
    if arguments.config is not None:
        config = loader.load(Config, arguments.config, overrides)
    else:
        base = dataclasses.asdict(load_config(arguments.out)) if arguments.resume else {}
        config = loader.from_dict(Config, loader.merge(base, overrides), "command line")
    if not arguments.resume:
        common_args.require_folder(arguments.out)
    metrics = train(
        arguments.data,
        arguments.out,
        config,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        device=arguments.device,
    )
    return metrics if distributed.is_main_process() else None
