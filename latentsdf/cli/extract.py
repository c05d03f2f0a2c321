"""Decode a shape to a mesh."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli import flags, shapes
from latentsdf.cli.numbers import number, whole
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.errors import ConfigError
from latentsdf.progress import console


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "extract", run, "decode a shape to a mesh in its own frame")
    flags.space(parser)
    flags.shape(parser)
    flags.decoding(parser)
    parser.add_argument("--largest-component", action="store_true", help="drop everything but the largest piece")
    parser.add_argument(
        "--smallest-piece",
        type=number(0, 1),
        default=5e-3,
        help="drop pieces of less than this share of the largest one's area (%(default)s)",
    )
    parser.add_argument("--faces", type=whole(4), help="simplify to about so many faces")
    parser.add_argument("--normals", action="store_true", help="vertex normals from the field's gradient")
    parser.add_argument("--out", type=Path, required=True, help="mesh file (.ply .obj .stl .glb .off)")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry import mesh as meshes

    meshes.require_writable(arguments.out)
    if arguments.normals and arguments.out.suffix.lower() not in meshes.WITH_NORMALS:
        raise ConfigError(f"{arguments.out}: normals are written to {', '.join(meshes.WITH_NORMALS)} files")
    flags.require_folder(arguments.out.parent)
    space = flags.load_space(arguments)
    mesh = space.extract(
        shapes.query(space, arguments),
        arguments.resolution,
        arguments.mode,
        largest_component=arguments.largest_component,
        smallest_piece=arguments.smallest_piece,
        faces=arguments.faces,
        normals=arguments.normals,
    )
    meshes.save(mesh, arguments.out)
    report = {"out": str(arguments.out), "vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    console.print(f"{arguments.out}: {report['vertices']:,} vertices, {report['faces']:,} faces")
    return report
