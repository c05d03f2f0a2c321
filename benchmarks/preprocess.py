"""Distance sampling of one mesh, against libigl, coarse-to-fine Open3D and mesh-to-sdf in the same run.

python benchmarks/preprocess.py [MESH] [--resolution 512] [--band-voxels 6] [--threads 1] [--rounds 3] [--json]

latentsdf and Open3D (if installed) compute the whole band. Slower methods are timed on random band points and scaled to
the band: `igl.signed_distance` with its default sign, as Compact-SDF calls it, and the sample mode of mesh-to-sdf. The
sparse lattice is compared with tree queries at random vertices, scaled in the same way. Each method runs in a separate
process, once without measurement and then measured, and reports its peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from reference_distance import brute_force, coarse_to_fine, published, sampled

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.full_lattice import full_lattice_distance
from latentsdf.geometry.mesh_sdf.mesh_distance import BACKENDS
from latentsdf.geometry.mesh_sdf.narrow_band import narrow_band
from latentsdf.geometry.mesh_sdf.solid import signed_narrow_band
from latentsdf.geometry.similarity import IDENTITY

_SUBSET = 100_000
_CHECKED = 100
_MISSING = 3  # exit status of a method whose package is not installed
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def default_mesh() -> trimesh.Trimesh:
    """Create a closed torus with bumps, 64,000 faces."""
    mesh = trimesh.creation.torus(0.6, 0.25, major_sections=320, minor_sections=100)
    x = np.asarray(mesh.vertices)
    bumps = np.sin(25 * x).prod(axis=1, keepdims=True)
    return trimesh.Trimesh(x + 0.02 * bumps * mesh.vertex_normals, mesh.faces, process=False)


def positions(index: Any, resolution: int) -> Any:
    """Positions (N, 3), float64, of lattice vertices with the linear indices (N,)."""
    return np.stack(np.unravel_index(index, (resolution + 1,) * 3), axis=1) * (2 / resolution) - 1


def ours(mesh: trimesh.Trimesh, arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Indices and signed distances of the narrow band by latentsdf."""
    band = signed_narrow_band(mesh, arguments.resolution, arguments.band_voxels, threads=arguments.threads)
    return band.index, band.distance


def vertex_seeding(resolution: int, band_voxels: float) -> float:
    """Compute the share of a cube's band near mesh vertices, the part that Compact-SDF's release samples."""
    cube = trimesh.creation.box((1, 1, 1))
    band = narrow_band(cube, resolution, band_voxels)
    x = positions(band.index, resolution)
    near = np.zeros(len(x), dtype=bool)
    for vertex in np.asarray(cube.vertices):
        near |= np.abs(x - vertex).max(1) <= band_voxels * 2 / resolution
    return float(near.mean())


WHOLE: dict[str, Callable[..., Any]] = {"ours": ours, "coarse to fine, Open3D": coarse_to_fine}
SUBSET: dict[str, Callable[..., Any]] = {"igl.signed_distance": published, "mesh-to-sdf": sampled}
TREES = ("latentsdf", "igl", "open3d")


def measure(task: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one method in this process, once without measurement, and save its result under the name of the task.

    For a subset of points, the cost per point is scaled to all points; the constant cost is not scaled.
    """
    kind, method = task.split("/")
    mesh = trimesh.load(folder / ("finer.ply" if kind == "finer" else "mesh.ply"), process=False)
    scaled_to = 129**3 if kind == "sparse" else arguments.points
    if method in WHOLE and kind != "sparse":
        call, sizes = (lambda _: WHOLE[method](mesh, arguments)), (0, 0)
    elif method == "ours":
        call, sizes = (lambda _: (full_lattice_distance(mesh, 128, arguments.threads)[0],)), (0, 0)
    else:
        points = np.load(folder / f"{kind}.npy")
        query = BACKENDS[method](mesh) if kind == "sparse" else lambda x: (SUBSET[method](mesh, x),)
        call, sizes = (lambda count: query(points[:count])[:1]), (100, len(points))
    call(sizes[0])
    times = []
    for size in sizes:
        started = time.perf_counter()
        answer = call(size)
        times.append(time.perf_counter() - started)
    seconds = times[-1]
    if sizes[1]:
        seconds = times[0] + max(times[1] - times[0], 0.0) * (scaled_to - sizes[0]) / (sizes[1] - sizes[0])
    np.savez(folder / f"{task.replace('/', ' ')}.npz", *answer)
    return {"seconds": seconds, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def in_process(task: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float] | None:
    """Run `measure` in a new process with a limited number of threads; None if an optional package is missing."""
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(arguments.threads))
    options = [
        f"--{k.replace('_', '-')}={getattr(arguments, k)}" for k in ("resolution", "band_voxels", "threads", "points")
    ]
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder), *options]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    if answer.returncode == _MISSING:
        return None
    if answer.returncode:
        raise SystemExit(f"{task} failed:\n{answer.stderr}")
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


def stored_bytes(mesh: trimesh.Trimesh, folder: Path, arguments: argparse.Namespace) -> float:
    """Bytes per band sample of the two band arrays in the store."""
    from latentsdf.data.records import ShapeRecord
    from latentsdf.data.store import SampleStore
    from latentsdf.geometry.mesh_sdf.sampling import sample

    config = SamplingConfig(
        resolution=arguments.resolution,
        band_voxels=arguments.band_voxels,
        sparse_resolution=arguments.resolution // 4,
        near=1000,
        uniform=1000,
        surface=1000,
        normalization="none",
    )
    samples = sample(mesh, config)
    record = ShapeRecord(
        category="bench",
        id="mesh",
        samples=samples,
        similarity=IDENTITY,
        source="",
        source_sha256="",
        watertight=True,
        area=mesh.area,
        seed=0,
    )
    SampleStore.create(folder / "store.zarr", config).write(record)
    files = [f for name in ("band_index", "band_sdf") for f in (folder / "store.zarr").rglob(f"{name}/**/*")]
    return sum(f.stat().st_size for f in files if f.is_file()) / len(samples.band_index)


def answer_of(task: str, folder: Path) -> list[Any]:
    """Load the arrays that `measure` saved for a task."""
    with np.load(folder / f"{task.replace('/', ' ')}.npz") as saved:
        return [saved[name] for name in saved.files]


def check(mesh: trimesh.Trimesh, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Largest errors against brute force, and the share of signs that differ from libigl."""
    rng = np.random.default_rng(2)
    index, distance = answer_of("band/ours", folder)
    sparse = answer_of("sparse/ours", folder)[0].reshape(-1)
    one, other = rng.integers(0, len(index), _CHECKED), rng.integers(0, len(sparse), _CHECKED)
    band_truth = brute_force(mesh, positions(index[one], arguments.resolution))
    libigl_distance = answer_of("band/igl.signed_distance", folder)[0]
    chosen = np.load(folder / "chosen.npy")
    apart = (distance[chosen] < 0) != (libigl_distance < 0)
    return {
        "band error": float(np.abs(np.abs(distance[one]) - band_truth).max()),
        "sparse error": float(np.abs(sparse[other] - brute_force(mesh, positions(other, 128))).max()),
        "sign errors": float(apart[np.abs(libigl_distance) > 1e-6].mean()),
    }


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all methods alternately on one mesh and compute medians and ratios."""
    mesh = default_mesh() if arguments.mesh is None else meshes.clean(meshes.load(arguments.mesh))[0]
    if np.abs(mesh.bounds).max() > 1:
        mesh = meshes.normalize(mesh, "sphere")[0]
    mesh.export(folder / "mesh.ply")
    mesh.subdivide().subdivide().export(folder / "finer.ply")
    mesh = trimesh.load(folder / "mesh.ply", process=False)  # float32, as every method reads it from the file
    rng = np.random.default_rng(0)
    index, _ = ours(mesh, arguments)
    chosen = rng.integers(0, len(index), _SUBSET)
    arguments.points = len(index)
    np.save(folder / "chosen.npy", chosen)
    np.save(folder / "band.npy", positions(index[chosen], arguments.resolution))
    np.save(folder / "sparse.npy", positions(rng.integers(0, 129**3, _SUBSET), 128))
    tasks = [f"band/{m}" for m in (*WHOLE, *SUBSET)] + ["finer/ours", "sparse/ours", *[f"sparse/{t}" for t in TREES]]
    measured: dict[str, list[dict[str, float]]] = {}
    for _ in range(arguments.rounds):
        for task in tasks:
            answer = in_process(task, folder, arguments)
            if answer is not None:
                measured.setdefault(task, []).append(answer)
    table = {}
    for task, answers in measured.items():
        seconds = [a["seconds"] for a in answers]
        reference = "sparse/ours" if task.startswith("sparse") else "band/ours"
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(answers, measured[reference], strict=True)]
        table[task] = {
            "seconds": statistics.median(seconds),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
            "peak_gb": max(a["peak_gb"] for a in answers),
        }
    return {
        "faces": len(mesh.faces),
        "band points": len(index),
        "threads": arguments.threads,
        "methods": table,
        "checks": check(mesh, folder, arguments)
        | {
            "bytes per band sample": stored_bytes(mesh, folder, arguments),
            "share of a cube's band sampled by vertex seeding": vertex_seeding(
                arguments.resolution, arguments.band_voxels
            ),
        },
    }


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "mesh",
        nargs="?",
        type=Path,
        help="mesh file, normalized unless it lies in [-1, 1]^3 (default: a torus with bumps)",
    )
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--band-voxels", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    for internal in ("--task", "--folder", "--points"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        arguments.points = int(arguments.points)
        try:
            result = measure(arguments.task, Path(arguments.folder), arguments)
        except ImportError as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(_MISSING) from error
        sys.stdout.write(json.dumps(result) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments, Path(folder))
    if arguments.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return
    sys.stdout.write(f"{result['faces']:,} faces, {result['band points']:,} band points, {result['threads']} threads\n")
    for name, row in result["methods"].items():
        spread = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        sys.stdout.write(
            f"{name:32s} {row['seconds']:9.2f} s  {row['ratio']:7.2f}x {spread:20s} peak {row['peak_gb']:.2f} GB\n"
        )
    for name, value in result["checks"].items():
        sys.stdout.write(f"{name:40s} {value:.3g}\n")


if __name__ == "__main__":
    main()
