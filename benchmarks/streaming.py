"""Time of a training step and memory use when the samples of a store exceed the memory for samples.

Writes a store of analytic spheres once (--out, about 1 MB per shape), then alternates the steps of two runs, one with
few shapes and one with all shapes, both with the same memory for samples.

python benchmarks/streaming.py --out spheres.zarr [--shapes 1000] [--few 100] [--memory-gb 0.5] [--steps 200]
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config, TrainConfig
from latentsdf.data.records import ShapeRecord
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import band_width, lattice_points
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.training.trainer import Trainer
from latentsdf.utils.malloc import keep_freed_memory

SAMPLING = SamplingConfig(resolution=128, band_voxels=4, sparse_resolution=16, near=40_000, uniform=20_000, surface=100)


def sphere(number: int) -> ShapeRecord:
    """Sample a sphere with random center and radius as preprocessing does."""
    rng = np.random.default_rng(number)
    center, radius = rng.uniform(-0.3, 0.3, 3), rng.uniform(0.3, 0.6)

    def distance(points: NDArray[np.floating]) -> NDArray[np.float32]:
        return (np.linalg.norm(points - center, axis=1) - radius).astype(np.float32)

    shifted = [(np.linspace(-1, 1, SAMPLING.resolution + 1) - c) ** 2 for c in center]
    whole = np.sqrt(shifted[0][:, None, None] + shifted[1][:, None] + shifted[2]) - radius
    width = band_width(SAMPLING.resolution, SAMPLING.band_voxels)
    index = np.flatnonzero(np.abs(whole) <= width).astype(np.uint32)
    stride = SAMPLING.resolution // SAMPLING.sparse_resolution
    sparse = whole[::stride, ::stride, ::stride]
    directions = rng.normal(size=(SAMPLING.near, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near = center + radius * directions + rng.normal(scale=SAMPLING.near_std, size=directions.shape)
    uniform = rng.uniform(-1, 1, (SAMPLING.uniform, 3))
    surface = np.column_stack((center + radius * directions[: SAMPLING.surface], directions[: SAMPLING.surface]))
    samples = SdfSamples(
        resolution=SAMPLING.resolution,
        band_voxels=SAMPLING.band_voxels,
        band_index=index,
        band_distance=distance(lattice_points(index, SAMPLING.resolution)),
        sparse_resolution=SAMPLING.sparse_resolution,
        sparse_distance=sparse.astype(np.float32),
        near=np.column_stack((near, distance(near))).astype(np.float32),
        uniform=np.column_stack((uniform, distance(uniform))).astype(np.float32),
        surface=surface.astype(np.float32),
        sign=SignReport(method="pseudonormal", confidence=1.0),
    )
    area = 4 * np.pi * radius**2
    return ShapeRecord(
        category="sphere",
        id=f"{number:06d}",
        samples=samples,
        similarity=IDENTITY,
        source="analytic",
        source_sha256="",
        watertight=True,
        area=area,
        seed=number,
    )


def main() -> None:
    """Print the time per step of both runs, its ratio, and the peak resident memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("shapes", 1000), ("few", 100), ("steps", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--memory-gb", type=float, default=0.5)
    arguments = parser.parse_args()
    keep_freed_memory()
    store = SampleStore.create(arguments.out, SAMPLING)
    for number in range(arguments.shapes):
        if f"sphere/{number:06d}" not in store:
            store.write(sphere(number))
    keys = store.keys()[: arguments.shapes]
    train = TrainConfig(memory_gb=arguments.memory_gb)
    config = Config(train=train)
    runs = {}
    for count in (arguments.few, arguments.shapes):
        pool = ShapeSamplePool(store, keys[:count], train, config.loss)
        runs[count] = Trainer(pool, config, torch.device("cpu"))
        runs[count].train_step()
        sys.stdout.write(
            f"{count} shapes: {pool.slots} resident with {100 * pool.share:.0f} % of their samples, "
            f"{sum(part.nbytes for part in pool._parts) / 1e9:.2f} GB of samples\n"
        )
    process = psutil.Process()
    seconds: dict[int, list[float]] = {count: [] for count in runs}
    cpu: dict[int, list[float]] = {count: [] for count in runs}
    peak = 0
    for _ in range(arguments.steps):
        for count, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            run.train_step()
            seconds[count].append(time.perf_counter() - started)
            cpu[count].append(time.process_time() - used)
        peak = max(peak, process.memory_info().rss)
    for run in runs.values():
        run.pool.close()
    few, many = (statistics.mean(times) for times in seconds.values())
    few_cpu, many_cpu = (statistics.mean(times) for times in cpu.values())
    result = {"seconds": [few, many], "ratio": many / few, "cpu_ratio": many_cpu / few_cpu, "peak_rss_gb": peak / 1e9}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
