"""Moving picture of a walk through a space, for README.md: shapes of several categories, with a slowly turning camera.

python benchmarks/walk.py SPACE OUT.gif [--shapes ID ...] [--size 300] [--steps 14] [--hold 5]

The walk visits the given training shapes (default: two of each category), holds at each, and returns to the first one.
Frames are extracted and rendered by the package; consecutive frames share one palette, so that the file stays small.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import latentsdf as ls
from latentsdf.rendering.render import render_mesh
from latentsdf.utils.console import console, track

_TURN = 90.0  # degrees during the whole walk, back and forth
_COLORS = 48


def frames(space: ls.ShapeSpace, shapes: list[str], *, size: int, steps: int, hold: int, resolution: int) -> list:
    """Render the walk.

    Args:
        space: The space.
        shapes: Training shapes to visit.
        size: Pixels per side.
        steps: Frames from one shape to the next.
        hold: Frames at each shape.
        resolution: Cells per axis.
    """
    path = []
    for first, last in zip(shapes, [*shapes[1:], shapes[0]], strict=True):
        codes = space.interpolate(first, last, steps=steps + 1)
        path += [codes[0]] * hold + [codes[i] for i in range(1, steps)]
    images, meshes = [], {}
    with track("rendering", total=len(path), unit="frame") as advance:
        for number, code in enumerate(path):
            key = np.asarray(code).tobytes()
            if key not in meshes:
                meshes = {key: space.extract(code, resolution, frame="model")}
            azimuth = 35 + _TURN / 2 * np.sin(2 * np.pi * number / len(path))
            images.append(render_mesh(meshes[key], size=size, azimuth=azimuth, fit=False))
            advance()
    return images


def save(images: list, out: Path, milliseconds: int) -> None:
    """Write a GIF with one palette."""
    sample = Image.fromarray(np.concatenate([np.asarray(image) for image in images[:: max(1, len(images) // 12)]]))
    palette = sample.quantize(_COLORS)
    first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    first.save(out, save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=True)


def main() -> None:
    """Parse the command line, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space")
    parser.add_argument("out", type=Path)
    parser.add_argument("--shapes", nargs="*")
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--hold", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=192)
    parser.add_argument("--milliseconds", type=int, default=80)
    args = parser.parse_args()
    space = ls.load(args.space)
    by_category = [[key for key in space.keys if key.startswith(f"{name}/")][:2] for name in space.categories]
    shapes = args.shapes or [key for keys in zip(*by_category, strict=False) for key in keys]
    images = frames(space, shapes, size=args.size, steps=args.steps, hold=args.hold, resolution=args.resolution)
    save(images, args.out, args.milliseconds)
    console.print(f"{args.out}: {len(images)} frames, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
