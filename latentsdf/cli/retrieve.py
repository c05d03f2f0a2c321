"""The training shapes most like a shape."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.errors import ConfigError
from latentsdf.progress import console

if TYPE_CHECKING:
    from latentsdf.space import CodeLike


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "retrieve", run, "the training shapes most like a shape")
    flags.space(parser)
    flags.shape(parser)
    parser.add_argument("--mesh", type=Path, help="query by a mesh or points file, through inversion")
    parser.add_argument("-k", type=int, default=5)
    flags.inverting(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.k < 1:
        raise ConfigError(f"-k must be at least 1, got {arguments.k}")
    space = flags.load_space(arguments)
    if arguments.mesh is not None:
        query: CodeLike = space.invert(shapes.read_target(arguments.mesh), flags.inversion(arguments))
    else:
        query = shapes.query(space, arguments)
    hits = space.nearest(query, arguments.k)
    for place, (name, distance) in enumerate(zip(hits.ids, hits.distances, strict=True), start=1):
        console.print(f"{place:3d}  {name}  {distance:.4f}")
    return dataclasses.asdict(hits)
