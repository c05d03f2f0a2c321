"""A picture of a shape."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.cli import common_args, shape_args
from latentsdf.cli.arg_types import number, whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

    from latentsdf.space import CodeLike, ShapeSpace

    Picture = Callable[[float], Image]
    """A picture by the azimuth it is taken from."""

_FRAMES = 24
_MILLISECONDS = 80


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "render", run, "a picture of a shape: sphere tracing, no OpenGL; a slice; a turntable")
    common_args.space(parser)
    common_args.shape(
        parser, mesh="picture a mesh file instead, normalized as the space does", several="several make a sheet"
    )
    parser.add_argument(
        "--trace", action="store_true", help="trace the signed distance of --mesh, instead of casting rays at its faces"
    )
    parser.add_argument(
        "--mode", choices=("general", "fused"), default="fused", help="the smooth branch alone, or both (%(default)s)"
    )
    parser.add_argument(
        "--style",
        choices=("shaded", "normals", "depth", "slice"),
        default="shaded",
        help="surface lit, its normals or depths as colours, or the distance on a plane (%(default)s)",
    )
    parser.add_argument(
        "--axis", choices=("x", "y", "z"), default="z", help="what a slice is perpendicular to (%(default)s)"
    )
    parser.add_argument("--offset", type=number(-1, 1), default=0.0, help="where on that axis, -1 to 1 (%(default)s)")
    parser.add_argument("--size", type=whole(2), default=512, help="pixels a side of each shape (%(default)s)")
    azimuth = "degrees about the vertical axis, 0 from +z and 90 from +x (%(default)s); a turntable takes all"
    parser.add_argument("--azimuth", type=number(), default=35.0, help=azimuth)
    parser.add_argument(
        "--elevation", type=number(-90, 90), default=20.0, help="degrees above the horizon (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG file, or GIF for a turntable")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.rendering.sheets import render_turntable, save_gif

    if arguments.style != "slice" and (arguments.axis != "z" or arguments.offset != 0):
        raise ConfigError("--axis and --offset place a slice; pass --style slice, or leave them out")
    if arguments.trace and (arguments.mesh is None or arguments.style == "slice"):
        raise ConfigError("--trace is for pictures of --mesh; shapes of the space are traced always, slices never")
    turns = arguments.out.suffix.lower() == ".gif" and arguments.style != "slice"
    if not turns:
        common_args.require_png(arguments.out)
    common_args.require_folder(arguments.out.parent)
    space = common_args.load_space(arguments)
    if arguments.mesh is not None:
        picture = _of_mesh(space, arguments)
    else:
        shown = shape_args.queries(space, arguments)
        picture = _sheet({name: _of_shape(space, query, arguments) for name, query in shown.items()})
    if turns:
        pictures = render_turntable(picture, _FRAMES)
        save_gif(arguments.out, pictures, _MILLISECONDS)
    else:
        pictures = [picture(arguments.azimuth)]
        pictures[0].save(arguments.out)
    console.print(f"{arguments.out}: {pictures[0].width} x {pictures[0].height}")
    return {"out": str(arguments.out)}


def _sheet(pictures: "dict[str, Picture]") -> "Picture":
    """One picture as it is, several in a grid with their names under them."""
    from latentsdf.rendering.sheets import contact_sheet

    names = list(pictures)
    if len(names) == 1:
        return pictures[names[0]]
    columns = math.ceil(math.sqrt(len(names)))
    rows = [names[i : i + columns] for i in range(0, len(names), columns)]
    return lambda azimuth: contact_sheet([[pictures[n](azimuth) for n in row] for row in rows], captions=rows)


def _of_shape(space: "ShapeSpace", query: "CodeLike", arguments: argparse.Namespace) -> "Picture":
    from latentsdf.rendering.render import render_field
    from latentsdf.rendering.slices import render_slice

    general = arguments.mode == "general"
    if arguments.style == "slice":
        field = space.field(query, "general") if general else space.fused(query)
        band = None if general else space.band(query)
        place = {"axis": arguments.axis, "offset": arguments.offset, "size": arguments.size}
        return lambda _: render_slice(field, band=band, device=space.device, **place)
    traced = space.band(query).tracing_field(space.field(query, "general" if general else "overfit"))
    look = {"size": arguments.size, "elevation": arguments.elevation, "style": arguments.style}
    return lambda azimuth: render_field(traced, azimuth=azimuth, device=space.device, **look)


def _of_mesh(space: "ShapeSpace", arguments: argparse.Namespace) -> "Picture":
    import torch

    from latentsdf.geometry import mesh as meshes
    from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
    from latentsdf.rendering.render import render_field, render_mesh
    from latentsdf.rendering.slices import render_slice

    mesh, _ = meshes.normalize(meshes.clean(meshes.load(arguments.mesh))[0], space.normalization)
    look = {"size": arguments.size, "elevation": arguments.elevation, "style": arguments.style}
    if arguments.style != "slice" and not arguments.trace:
        return lambda azimuth: render_mesh(mesh, azimuth=azimuth, fit=False, **look)
    exact = MeshDistance(mesh)

    def distance(points: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(exact(points.numpy())).float()

    if arguments.style == "slice":
        place = {"axis": arguments.axis, "offset": arguments.offset, "size": arguments.size}
        return lambda _: render_slice(distance, **place)
    return lambda azimuth: render_field(distance, azimuth=azimuth, **look)
