"""Log an interpolation to Rerun: one mesh per step, colored by how far it is from the first shape, on a timeline.

Rerun (`pip install rerun-sdk`) shows logged data over time. The file is opened with `rerun path.rrd`.

Run it: python examples/log_to_rerun.py SPACE A B OUT.rrd [--steps 9]
"""

import argparse
from pathlib import Path

import numpy as np
import rerun

import latentsdf as ls
from latentsdf.geometry.metrics.vertex_errors import error_colors, vertex_errors


def log(space: ls.ShapeSpace, first: str, last: str, out: Path, steps: int = 9, resolution: int = 96) -> None:
    """Write the steps between two shapes to a file.

    Args:
        space: The space.
        first: Id of the first shape.
        last: Id of the last shape.
        out: Rerun file (.rrd).
        steps: Number of shapes.
        resolution: Cells per axis.
    """
    rerun.init("latentsdf")
    rerun.save(out)
    rerun.log("/", rerun.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
    start = None
    for number, code in enumerate(space.interpolate(first, last, steps=steps)):
        mesh = space.extract(code, resolution, frame="model", normals=True)
        start = mesh if start is None else start
        changes = vertex_errors(mesh, start)
        rerun.set_time("step", sequence=number)
        surface = rerun.Mesh3D(
            vertex_positions=mesh.vertices,
            triangle_indices=mesh.faces,
            vertex_normals=mesh.vertex_normals,
            vertex_colors=error_colors(changes, limit=0.2),
        )
        rerun.log("shape", surface)
        rerun.log("change", rerun.Scalars(float(np.mean(changes))))
        print(f"step {number}: mean distance to {first} {np.mean(changes):.4f}")
    rerun.disconnect()


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="folder of a trained space")
    parser.add_argument("first", help="id of the first shape")
    parser.add_argument("last", help="id of the last shape")
    parser.add_argument("out", type=Path, help="file to write (.rrd)")
    parser.add_argument("--steps", type=int, default=9, help="number of shapes")
    parser.add_argument("--resolution", type=int, default=96, help="cells per axis")
    args = parser.parse_args()
    log(ls.load(args.space), args.first, args.last, args.out, args.steps, args.resolution)


if __name__ == "__main__":
    main()
