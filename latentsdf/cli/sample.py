"""Shapes that are in no training set: the mean, random ones, principal directions, sums."""

import argparse
import math
from pathlib import Path
from typing import Any

from latentsdf.cli import common_args, frame_output, shape_args
from latentsdf.cli.arg_types import whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "sample", run, "shapes in no training set: mean, random, principal directions, sums")
    common_args.space(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--mean", action="store_true", help="the mean shape")
    what.add_argument("--random", type=whole(1), metavar="N", help="drawn from the distribution of the training codes")
    what.add_argument(
        "--direction", type=whole(0), metavar="I", help="-2 to 2 deviations along a principal direction, from 0"
    )
    what.add_argument(
        "--sum", nargs="+", metavar="W*SHAPE", help="mean + sum of weight * (code - mean), e.g. 1*A -1*B 1*C"
    )
    common_args.seed(parser, "--random")
    parser.add_argument(
        "--out", type=Path, required=True, help="strip.png, frame_output.gif, or a folder for meshes and codes"
    )
    common_args.decoding(parser, 128)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    frame_output.require_writable(arguments.out)
    space = common_args.load_space(arguments)
    if arguments.mean:
        codes = space.mean()[None]
    elif arguments.random is not None:
        codes = space.sample(arguments.random, arguments.seed)
    elif arguments.direction is not None:
        codes = space.direction(arguments.direction)
    else:
        codes = space.combine(*(_term(space, word) for word in arguments.sum))[None]
    frame_output.write(arguments.out, codes, frame_output.decode(space, codes, arguments.resolution, arguments.mode))
    console.print(f"{arguments.out}: {len(codes)} shapes")
    return {"out": str(arguments.out), "shapes": len(codes), "codes": codes.tolist()}


def _term(space: Any, word: str) -> tuple[float, Any]:
    weight, star, name = word.partition("*")
    try:
        if not math.isfinite(float(weight)):
            raise ConfigError(f"{word}: a weight is a finite number, got {weight}")
        return float(weight), shape_args.named_code(space, name)
    except ValueError as error:
        if star and not isinstance(error, ConfigError):
            raise ConfigError(f"{word}: the part before * is a weight, a number") from error
        if star:
            raise
        raise ConfigError(f"{word}: a term is WEIGHT*SHAPE, such as -1*{word}") from error
