"""Decoding a shape coarse to fine against the dense way, and its cost and memory by resolution.

python benchmarks/extract.py CHECKPOINT [--id SHAPE] [--resolutions 128 256 512 1024] [--blocks 12]

The dense way evaluates both branches on all (R + 1)^3 vertices, 64^3 at a time. It would take many minutes, so a random
`--blocks` of those blocks are timed and multiplied; pasting and its marching cubes are left out, in its favour. Each
resolution runs in a process of its own, whose peak memory beyond that of the loaded space is printed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

import latentsdf as ls
from latentsdf.space import ShapeSpace

BLOCK = 64


def once(space: ShapeSpace, shape: str, resolution: int) -> dict[str, float]:
    """Seconds fused and by the general branch alone, peak memory, size of the surface."""
    space.extract(shape, 64)  # compiles what is compiled on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, float] = {}
    for mode in ("general", "fused"):
        started = time.perf_counter()
        mesh = space.extract(shape, resolution, mode)  # type: ignore[arg-type]
        found[mode] = time.perf_counter() - started
    # About two triangles a cell that the surface crosses.
    found["cells"] = len(mesh.faces) / 2
    found["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def dense(space: ShapeSpace, shape: str, resolution: int, blocks: int) -> float:
    """Seconds that both branches would take on the whole lattice."""
    axis = torch.linspace(-1, 1, resolution + 1)
    draw = torch.Generator().manual_seed(0)
    fields = [space.field(shape, "general"), space.field(shape, "overfit")]
    seconds = 0.0
    for _ in range(blocks):
        corner = torch.randint(0, resolution + 1 - BLOCK, (3,), generator=draw).tolist()
        points = torch.cartesian_prod(*(axis[c : c + BLOCK] for c in corner))
        started = time.perf_counter()
        for field in fields:
            field(points)
        seconds += time.perf_counter() - started
    return seconds / blocks * ((resolution + 1) / BLOCK) ** 3


def main() -> None:
    """Print a line a resolution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--id")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    space = ls.load(arguments.checkpoint, "cpu")
    shape = arguments.id or space.ids[0]
    if arguments.once:
        sys.stdout.write(json.dumps(once(space, shape, arguments.once)))
        return
    sys.stdout.write("cells/axis   general s   fused s   surface cells   us/cell   peak MB   dense s   dense/fused\n")
    for resolution in arguments.resolutions:
        words = [sys.executable, __file__, str(arguments.checkpoint), "--id", shape, "--once", str(resolution)]
        found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        slow = dense(space, shape, resolution, arguments.blocks)
        fused, cells = found["fused"], found["cells"]
        sys.stdout.write(
            f"{resolution:10d} {found['general']:11.2f} {fused:9.2f} {cells:15,.0f} {1e6 * fused / cells:9.1f} "
            f"{found['megabytes']:9.0f} {slow:9.0f} {slow / fused:12.0f}x\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
