"""Walk between shapes."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli import flags, shapes
from latentsdf.cli.verbs import Verbs, verb
from latentsdf.progress import console


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "interpolate", run, "walk between shapes: a PNG strip, or one mesh a step")
    flags.space(parser)
    parser.add_argument("--ids", nargs="+", required=True, help="two or more training shapes or code.npy files")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--method", choices=("linear", "spherical"), default="linear")
    parser.add_argument("--out", type=Path, required=True, help="strip.png, or a folder for meshes and codes")
    flags.decoding(parser, resolution=128)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from latentsdf.geometry import mesh as meshes
    from latentsdf.progress import track
    from latentsdf.render import contact_sheet, render_mesh

    space = flags.load_space(arguments)
    ends = [shapes.named_code(space, name) for name in arguments.ids]
    codes = space.interpolate(*ends, steps=arguments.steps, method=arguments.method)
    frames = []
    with track("decoding", total=len(codes), unit="frame") as advance:
        for code in codes:
            frames.append(space.extract(code, arguments.resolution, arguments.mode))
            advance()
    if arguments.out.suffix.lower() == ".png":
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet([[render_mesh(frame, size=256) for frame in frames]]).save(arguments.out)
    else:
        arguments.out.mkdir(parents=True, exist_ok=True)
        np.save(arguments.out / "codes.npy", codes)
        for number, frame in enumerate(frames):
            meshes.save(frame, arguments.out / f"frame_{number:03d}.glb")
    console.print(f"{arguments.out}: {len(codes)} steps from {arguments.ids[0]} to {arguments.ids[-1]}")
    return {"out": str(arguments.out), "ids": arguments.ids, "steps": len(codes)}
