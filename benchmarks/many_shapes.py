"""Seconds and memory of a store with many shapes: listing, resume check, start of training, steps.

    python benchmarks/many_shapes.py --shapes 100000

The store is simulated: one shape is sampled with tiny settings, and its arrays are linked under many keys, each with
metadata of its own; sizes on disk are therefore not those of real stores. Every measurement runs in a fresh process.
The files are in the page cache; a network file system adds its latency to every file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from latentsdf.config.loader import find_preset, load
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config
from latentsdf.data.shape_records import make_record
from latentsdf.data.store import SampleStore
from latentsdf.data.zarr_layout import ARRAYS

TINY = SamplingConfig(resolution=16, band_voxels=1, sparse_resolution=16, near=64, uniform=64, surface=64)
_PER_CATEGORY = 10_000


def main() -> None:
    """Make the store and run all measurements, or one of them in this process (`--measure`)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=100_000)
    parser.add_argument("--store", type=Path, help="keep the store here, and use it again")
    parser.add_argument("--measure", choices=list(MEASUREMENTS))
    arguments = parser.parse_args()
    if arguments.measure:
        report(arguments.store, MEASUREMENTS[arguments.measure])
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.store or Path(scratch) / "many.zarr"
        start = time.perf_counter()
        build(path, arguments.shapes)
        show(f"{arguments.shapes:,} shapes made in {time.perf_counter() - start:.1f} s")
        show(f"{'':24}{'seconds':>10}{'CPU s':>10}{'MB more':>10}")
        for name in MEASUREMENTS:
            command = [sys.executable, __file__, "--store", str(path), "--measure", name]
            line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            show(f"{name:24}{line['seconds']:10.2f}{line['cpu']:10.2f}{line['megabytes']:10.0f}  {line['note']}")


def show(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def build(path: Path, shapes: int) -> None:
    """Link the files of one shape under many keys."""
    store = SampleStore.create(path, TINY)
    first = key_of(0)
    if first not in store:
        store.write(make_record(trimesh.creation.box((1, 0.7, 0.5)), first, TINY, 0))
    source = path / "shapes" / first
    metadata = (source / "zarr.json").read_text()
    for number in range(1, shapes):
        folder = path / "shapes" / key_of(number)
        if (folder / "zarr.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            (folder / name).unlink(missing_ok=True)  # of a build that was interrupted
            os.symlink(source.absolute() / name, folder / name)
        (folder / "zarr.json").write_text(metadata)
    for category in {key_of(number).partition("/")[0] for number in range(shapes)}:
        (path / "shapes" / category / "zarr.json").write_bytes((path / "shapes" / "zarr.json").read_bytes())


def key_of(number: int) -> str:
    """Key of a simulated shape."""
    return f"category{number // _PER_CATEGORY}/shape_{number:06d}"


def report(path: Path, measure: Callable[[Path], Callable[[], str]]) -> None:
    """Run one measurement and print its seconds and memory as JSON."""
    work = measure(path)  # imports and models do not count
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    note = work()
    numbers = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "megabytes": peak() - before}
    show(json.dumps(numbers | {"note": note}))


def peak() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def open_and_list(path: Path) -> Callable[[], str]:
    """Open the store and list its keys."""
    return lambda: f"{len(SampleStore.open(path).keys())} keys"


def resume_check(path: Path) -> Callable[[], str]:
    """Compare all stored shapes with their sources, as a resumed preprocessing run does; the sources cost nothing."""
    from preprocessing.outdated_shapes import find_outdated
    from preprocessing.sources import Source

    store = SampleStore.open(path)
    digest, seed = store.provenance(key_of(0))

    class Stored(Source):
        def digest(self, mesh: trimesh.Trimesh | None = None) -> str:
            del mesh
            return digest

    import preprocessing.outdated_shapes as module

    module.shape_seed = lambda *_: seed  # all shapes have the metadata of one
    sources = [Stored(*key.split("/")) for key in store]
    return lambda: f"{len(find_outdated(sources, store, 0))} outdated"


def save_report(path: Path) -> Callable[[], str]:
    """Collect the statistics of all shapes, as every preprocessing run does at its end."""
    from preprocessing.report import Report

    def work() -> str:
        report = Report(path, TINY, 0, 0)
        report.save()
        return f"{len(report.shapes)} shapes"

    return work


def config_of(memory_gb: float) -> Config:
    """Return a small model with the given budget of memory for samples."""
    config = load(Config, find_preset("latentsdf_cpu"))
    grid = replace(config.model.grid, resolution=16)
    return replace(
        config,
        model=replace(config.model, code_dim=16, grid=grid),
        train=replace(config.train, memory_gb=memory_gb, shapes_per_batch=16, points_per_shape=256),
    )


def training(memory_gb: float) -> Callable[[Path], Callable[[], str]]:
    """Start a training run: list the shapes, plan the memory, build the model, read the first samples, take 5 steps."""

    def prepare(path: Path) -> Callable[[], str]:
        import torch

        from latentsdf.data.sample_pool import ShapeSamplePool
        from latentsdf.training.trainer import Trainer

        config = config_of(memory_gb)

        def work() -> str:
            store = SampleStore.open(path)
            pool = ShapeSamplePool(store, store.keys(), config.train, config.loss)
            _ = pool.known_faults
            trainer = Trainer(pool, config, torch.device("cpu"))
            pool.fill(0)
            start = time.perf_counter()
            for step in range(5):
                pool.batch(step)
            seconds = (time.perf_counter() - start) / 5
            pool.close()
            del trainer
            return f"{pool.slots} of {len(pool.keys)} shapes resident, {1000 * seconds:.1f} ms a batch"

        return work

    return prepare


MEASUREMENTS: dict[str, Callable[[Path], Callable[[], str]]] = {
    "open and list": open_and_list,
    "resume check": resume_check,
    "report": save_report,
    "training start": training(8.0),
    "training start, streamed": training(0.05),
}

if __name__ == "__main__":
    np.random.seed(0)
    main()
