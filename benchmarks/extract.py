"""Coarse-to-fine extraction against dense evaluation, and its time and memory by resolution.

python benchmarks/extract.py CHECKPOINT [--id SHAPE] [--resolutions 128 256 512 1024] [--blocks 12]
python benchmarks/extract.py CHECKPOINT [--id SHAPE] --whole 512

Dense evaluation decodes both branches at all (R + 1)^3 vertices, in blocks of 64^3. It would take many minutes, so its
time is extrapolated from `--blocks` random blocks, without marching cubes. Each resolution runs in a separate process;
its peak memory in excess of the loaded space is printed.

With `--whole`, dense evaluation is completed and both meshes are compared face by face.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

import latentsdf as ls
from latentsdf.extraction.extract import BAND_RESOLUTION, extract
from latentsdf.extraction.marching_cubes import marching_cubes as latentsdf_marching_cubes
from latentsdf.extraction.sparse_lattice import allocate
from latentsdf.space import ShapeSpace

BLOCK = 64


def once(space: ShapeSpace, shape: str, resolution: int) -> dict[str, float]:
    """Measure the seconds of fused and general extraction, the peak memory and the number of surface cells."""
    space.extract(shape, 64)  # compiles kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, float] = {}
    for mode in ("general", "fused"):
        started = time.perf_counter()
        mesh = space.extract(shape, resolution, mode)  # type: ignore[arg-type]
        found[mode] = time.perf_counter() - started
    # A cell that the surface crosses has about two triangles.
    found["cells"] = len(mesh.faces) / 2
    found["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def dense(space: ShapeSpace, shape: str, resolution: int, blocks: int) -> float:
    """Extrapolate the seconds of both branches on the whole lattice from random blocks."""
    axis = torch.linspace(-1, 1, resolution + 1)
    draw = torch.Generator().manual_seed(0)
    fields = [space.field(shape, branch, frame="model") for branch in ("general", "overfit")]
    seconds = 0.0
    for _ in range(blocks):
        corner = torch.randint(0, resolution + 1 - BLOCK, (3,), generator=draw).tolist()
        points = torch.cartesian_prod(*(axis[c : c + BLOCK] for c in corner))
        started = time.perf_counter()
        for field in fields:
            field(points)
        seconds += time.perf_counter() - started
    return seconds / blocks * ((resolution + 1) / BLOCK) ** 3


def whole(space: ShapeSpace, shape: str, resolution: int) -> dict[str, float]:
    """Compare sparse and dense extraction: seconds, mesh sizes, largest vertex distance, faces in only one mesh."""
    started = time.perf_counter()
    axis = torch.linspace(-1, 1, resolution + 1)
    branches = (space.field(shape, "general", frame="model"), space.field(shape, "overfit", frame="model"))
    general, values = (_lattice(field, axis) for field in branches)
    voxels = space.config.model.band_voxels
    grow = max(2, round(voxels * resolution / BAND_RESOLUTION))
    np.copyto(values, general, where=~_band(general, grow))
    vertices, faces = _march_dense(values)
    dense_seconds = time.perf_counter() - started
    extract(*branches, resolution=64, band_voxels=voxels)
    started = time.perf_counter()
    mesh = extract(*branches, resolution=resolution, band_voxels=voxels)
    seconds = time.perf_counter() - started
    apart, same = cKDTree(mesh.vertices).query(vertices)
    return {
        "dense_seconds": dense_seconds,
        "seconds": seconds,
        "dense_over_fused": dense_seconds / seconds,
        "vertices": len(mesh.vertices),
        "vertices_dense": len(vertices),
        "vertices_scikit_image": len(marching_cubes(values, 0.0, method="lorensen")[0]),
        "farthest_vertices": float(apart.max()),
        "faces": len(mesh.faces),
        "faces_not_in_both": len(_triangles(mesh.faces) ^ _triangles(same[faces])),
    }


def _march_dense(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run the marching cubes of `extract` on a full lattice; scikit-image triangulates some cells differently."""
    blocks = allocate(len(values) - 1)
    blocks.value[blocks.vertex_mask()] = np.inf
    inside = blocks.vertex_mask() & ~blocks.padding_mask()
    blocks.value[inside] = values[tuple(blocks.vertex_indices(inside).T)]
    return latentsdf_marching_cubes(blocks)


def _triangles(faces: np.ndarray) -> set[tuple[int, int, int]]:
    first = faces.argmin(axis=1)[:, None]
    return {(a, b, c) for a, b, c in np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1).tolist()}


def _lattice(field: Callable[[torch.Tensor], torch.Tensor], axis: torch.Tensor) -> np.ndarray:
    n = len(axis)
    return np.stack([field(torch.cartesian_prod(x[None], axis, axis)).reshape(n, n).numpy() for x in axis])


def _band(general: np.ndarray, grow: int) -> np.ndarray:
    """Vertices of the cells in which the sign changes, dilated by `grow` cells."""
    some = every = general < 0
    for axis in range(3):
        some, every = np.logical_or(*_neighbors(some, axis)), np.logical_and(*_neighbors(every, axis))
    cells = (some & ~every).astype(np.uint8)
    for axis in range(3):
        cells = maximum_filter1d(cells, 2 * grow + 1, axis=axis, mode="constant")
    cells = np.pad(cells, 1)  # a vertex is in the band if any of its eight cells is
    for axis in range(3):
        cells = np.logical_or(*_neighbors(cells, axis))
    return cells


def _neighbors(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each value along an axis and its successor, as two views."""
    before = (slice(None),) * axis
    return values[(*before, slice(-1))], values[(*before, slice(1, None))]


def main() -> None:
    """Print a row per resolution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--id")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--whole", type=int, help="only compare sparse and dense extraction at this resolution")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    space = ls.load(arguments.checkpoint, "cpu")
    shape = arguments.id or space.ids[0]
    if arguments.once:
        sys.stdout.write(json.dumps(once(space, shape, arguments.once)))
        return
    if arguments.whole:
        sys.stdout.write(json.dumps(whole(space, shape, arguments.whole), indent=1) + "\n")
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
