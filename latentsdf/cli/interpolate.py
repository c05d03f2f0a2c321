"""Walk between shapes."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli import common_args, frame_output, shape_args
from latentsdf.cli.arg_types import whole
from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "interpolate", run, "walk between shapes: a PNG strip, a GIF, or one mesh a step")
    common_args.space(parser)
    parser.add_argument("--ids", nargs="+", required=True, help="two or more training shapes or code.npy files")
    parser.add_argument("--steps", type=whole(2), default=9, help="shapes on the path, ends included (%(default)s)")
    parser.add_argument(
        "--method",
        choices=("linear", "spherical", "shortest"),
        default="linear",
        help="how codes move: straight, turning at constant speed, or so that the shape changes least (%(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="strip.png, walk.gif, or a folder for meshes and codes")
    common_args.decoding(parser, 128)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.latent.interpolation import smoothness

    frame_output.require_writable(arguments.out)
    space = common_args.load_space(arguments)
    ends = [shape_args.named_code(space, name) for name in arguments.ids]
    codes = space.interpolate(*ends, steps=arguments.steps, method=arguments.method)
    meshes = frame_output.decode(space, codes, arguments.resolution, arguments.mode)
    frame_output.write(arguments.out, codes, meshes)
    smooth = smoothness(meshes)
    console.print(
        f"{arguments.out}: {len(codes)} steps from {arguments.ids[0]} to {arguments.ids[-1]}; the surface travels "
        f"{smooth.travel.mean():.4f} a step (variation {smooth.variation:.2f}), pieces "
        + " ".join(map(str, smooth.pieces))
    )
    return {
        "out": str(arguments.out),
        "ids": arguments.ids,
        "steps": len(codes),
        "method": arguments.method,
        "smoothness": smooth.as_dict(),
    }
