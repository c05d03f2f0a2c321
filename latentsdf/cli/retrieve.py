"""The training shapes most like a shape."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.cli import flags, shapes
from latentsdf.cli.numbers import whole
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.progress import console

if TYPE_CHECKING:
    from latentsdf.space import CodeLike

_RESOLUTION = 128
_SIZE = 200


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "retrieve", run, "the training shapes most like a shape")
    flags.space(parser)
    flags.shape(parser, mesh="query by a mesh or points, any file that invert takes, through inversion")
    parser.add_argument("-k", type=whole(1), default=5, help="shapes to find (%(default)s)")
    parser.add_argument("--metric", choices=("l2", "cosine"), default="l2", help="between codes (%(default)s)")
    parser.add_argument(
        "--rerank", type=whole(0), default=0, help="order this many hits by Chamfer distance of surfaces; 0 for none"
    )
    parser.add_argument("--out", type=Path, help="PNG of the query and its hits")
    flags.inverting(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    flags.require_png(arguments.out)
    flags.require_folder(arguments.out.parent if arguments.out is not None else None)
    if arguments.mesh is None:
        flags.refuse_inverting(arguments)
    space = flags.load_space(arguments)
    if arguments.mesh is not None:
        query: CodeLike = space.invert(arguments.mesh, flags.inversion(arguments))
    else:
        query = shapes.query(space, arguments)
    hits = space.nearest(query, arguments.k, metric=arguments.metric, rerank=arguments.rerank)
    for place, (name, distance) in enumerate(zip(hits.ids, hits.distances, strict=True), start=1):
        console.print(f"{place:3d}  {name}  {distance:.4f}")
    if arguments.out is not None:
        from latentsdf.render import contact_sheet, render_mesh

        # Bare codes, so that all stand in model space.
        row = [render_mesh(space.extract(space.code(one), _RESOLUTION), size=_SIZE) for one in (query, *hits.ids)]
        captions = ["query", *(f"{n} {d:.3f}" for n, d in zip(hits.ids, hits.distances, strict=True))]
        contact_sheet([row], captions=[captions]).save(arguments.out)
    return dataclasses.asdict(hits)
