"""Decode shapes to meshes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.cli import common_args, shape_args
from latentsdf.cli.arg_types import number, whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console, show_note, track
from latentsdf.utils.errors import ConfigError, LatentSDFError

if TYPE_CHECKING:
    import trimesh

    from latentsdf.space import CodeLike, ShapeSpace


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "extract", run, "decode shapes to meshes, each in its own frame")
    common_args.space(parser)
    ways = common_args.shape(parser, several="several get a file each in the folder --out")
    ways.add_argument("--all", action="store_true", help="every training shape")
    common_args.decoding(parser)
    parser.add_argument("--largest-component", action="store_true", help="drop everything but the largest piece")
    parser.add_argument(
        "--smallest-piece",
        type=number(0, 1),
        default=5e-3,
        help="drop pieces of less than this share of the largest one's area (%(default)s)",
    )
    parser.add_argument("--faces", type=whole(4), help="simplify to about so many faces")
    parser.add_argument("--normals", action="store_true", help="vertex normals from the field's gradient")
    parser.add_argument(
        "--out", type=Path, required=True, help="mesh file (.ply .obj .stl .glb .off), of several shapes a folder"
    )
    parser.add_argument("--suffix", default=".ply", help="of the files of several shapes (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="leave out shapes whose file is in the folder already")
    parser.set_defaults(exit_code=lambda report: 1 if report["failed"] and not report["meshes"] else 0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.geometry import mesh as meshes

    several = arguments.all or len(arguments.id or ()) > 1
    if arguments.resume and not several:
        raise ConfigError("--resume goes on with several shapes: pass --all or several ids, or leave it out")
    kind = Path(f"shape{arguments.suffix}") if several else arguments.out
    meshes.require_writable(kind)
    if arguments.normals and kind.suffix.lower() not in meshes.SUFFIXES_WITH_NORMALS:
        raise ConfigError(f"{kind.name}: normals are written to {', '.join(meshes.SUFFIXES_WITH_NORMALS)} files")
    if several and arguments.out.suffix.lower() in meshes.SUFFIXES:
        raise ConfigError(f"several shapes go into a folder, got --out {arguments.out}; choose files by --suffix")
    common_args.require_folder(arguments.out if several else arguments.out.parent)
    space = common_args.load_space(arguments)
    if several:
        return _extract_each(
            space, space.ids if arguments.all else list(shape_args.queries(space, arguments)), arguments
        )
    (shape,) = shape_args.queries(space, arguments).values()
    mesh = _decoded(space, shape, arguments)
    meshes.save(mesh, arguments.out)
    console.print(f"{arguments.out}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces")
    return {"meshes": {str(arguments.out): _size(mesh)}, "failed": {}}


def _extract_each(space: "ShapeSpace", names: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """A file for each; one that cannot be decoded is named and left out."""
    from latentsdf.geometry import mesh as meshes

    files = {name: arguments.out / f"{name}{arguments.suffix}" for name in names}
    left = [name for name, file in files.items() if not (arguments.resume and file.is_file())]
    made: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with track("decoding", total=len(left), unit="shape") as advance:
        for name in left:
            try:
                mesh = _decoded(space, name, arguments)
                meshes.save(mesh, files[name])
                made[str(files[name])] = _size(mesh)
            except LatentSDFError as error:
                failed[name] = str(error)
                show_note("failed", f"{name}: {error}")
            advance()
    kept = f", {len(names) - len(left)} were there" if len(left) < len(names) else ""
    console.print(f"{arguments.out}: {len(made)} meshes{kept}" + (f", {len(failed)} failed" if failed else ""))
    return {"meshes": made, "failed": failed}


def _decoded(space: "ShapeSpace", shape: "CodeLike", arguments: argparse.Namespace) -> "trimesh.Trimesh":
    return space.extract(
        shape,
        arguments.resolution,
        arguments.mode,
        largest_component=arguments.largest_component,
        smallest_piece=arguments.smallest_piece,
        faces=arguments.faces,
        normals=arguments.normals,
    )


def _size(mesh: "trimesh.Trimesh") -> dict[str, int]:
    return {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
