"""The training shapes most like a shape."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.cli import common_args, shape_args
from latentsdf.cli.arg_types import whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console, show_note

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace

_NOTE = "--add, --remove and --kind change the index of the --metric that is saved with the space."
_RESOLUTION = 128
_SIZE = 200


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "retrieve", run, "the training shapes most like a shape", _NOTE)
    common_args.space(parser)
    common_args.shape(parser, mesh="query by a mesh or points, any file that invert takes, through inversion")
    parser.add_argument(
        "--add", type=Path, nargs="+", default=[], help="fits to find too from now on: folders of invert, or code.npy"
    )
    parser.add_argument("--remove", nargs="+", default=[], help="ids to find no longer")
    parser.add_argument(
        "--kind",
        choices=("auto", "flat", "ivf", "hnsw", "pq"),
        help="of the saved index: exact, cells, a graph, compressed, or by the number of codes (as it is)",
    )
    parser.add_argument("-k", type=whole(1), default=5, help="shapes to find (%(default)s)")
    parser.add_argument("--metric", choices=("l2", "cosine"), default="l2", help="between codes (%(default)s)")
    parser.add_argument(
        "--rerank", type=whole(0), default=0, help="order this many hits by Chamfer distance of surfaces; 0 for none"
    )
    parser.add_argument("--out", type=Path, help="PNG of the query and its hits")
    common_args.inverting(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    common_args.require_png(arguments.out)
    common_args.require_folder(arguments.out.parent if arguments.out is not None else None)
    if arguments.mesh is None:
        common_args.refuse_inverting(arguments)
    space = common_args.load_space(arguments)
    changes = _change(space, arguments)
    if changes and arguments.id is None and arguments.code is None and arguments.mesh is None:
        return changes
    if arguments.mesh is not None:
        query: CodeLike = space.invert(arguments.mesh, common_args.inversion(arguments))
    else:
        query = shape_args.query(space, arguments)
    hits = space.nearest(query, arguments.k, metric=arguments.metric, rerank=arguments.rerank, kind=arguments.kind)
    for place, (name, distance) in enumerate(zip(hits.ids, hits.distances, strict=True), start=1):
        console.print(f"{place:3d}  {name}  {distance:.4f}")
    if arguments.out is not None:
        from latentsdf.rendering.render import render_mesh
        from latentsdf.rendering.sheets import contact_sheet

        # Bare codes, so that all stand in model space; of added fits an index may not keep them.
        known = {name: distance for name, distance in zip(hits.ids, hits.distances, strict=True) if name in space.ids}
        if len(known) < len(hits.ids):
            show_note("not pictured", ", ".join(name for name in hits.ids if name not in known))
        row = [render_mesh(space.extract(space.code(one), _RESOLUTION), size=_SIZE) for one in (query, *known)]
        captions = ["query", *(f"{name} {distance:.3f}" for name, distance in known.items())]
        contact_sheet([row], captions=[captions]).save(arguments.out)
    return dataclasses.asdict(hits)


def _change(space: "ShapeSpace", arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Take ids out of the saved index and put fits into it; how many it holds then, None where nothing is asked."""
    import numpy as np

    if not arguments.add and not arguments.remove:
        return None
    common_args.require_folder(space.folder)
    codes = [space.code(shape_args.read_code(space, path)).cpu().numpy() for path in arguments.add]
    index = space.index(arguments.metric, arguments.kind)
    if arguments.remove:
        index.remove(arguments.remove)
    if codes:
        index.add(np.stack(codes), [path.name if path.is_dir() else path.stem for path in arguments.add])
    index.save(space.folder)
    console.print(f"the index of {arguments.metric} holds {len(index.ids)} codes")
    return {"kind": index.kind, "codes": len(index.ids)}
