"""A picture of a shape."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.errors import ConfigError
from latentsdf.progress import console


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "render", run, "a picture of a shape (sphere tracing, no OpenGL)")
    flags.space(parser)
    flags.shape(parser)
    parser.add_argument("--mode", choices=("general", "fused"), default="fused")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--azimuth", type=float, default=35.0)
    parser.add_argument("--elevation", type=float, default=20.0)
    parser.add_argument("--out", type=Path, required=True, help="PNG file")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.render import render_field

    if arguments.out.suffix.lower() != ".png":
        raise ConfigError(f"a picture is written as .png, got {arguments.out}")
    space = flags.load_space(arguments)
    query = shapes.query(space, arguments)
    field = space.field(query, "general" if arguments.mode == "general" else "overfit")
    image = render_field(
        space.band(query).for_tracing(field),
        size=arguments.size,
        azimuth=arguments.azimuth,
        elevation=arguments.elevation,
        device=space.device,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    image.save(arguments.out)
    console.print(f"{arguments.out}: {arguments.size} x {arguments.size}")
    return {"out": str(arguments.out)}
