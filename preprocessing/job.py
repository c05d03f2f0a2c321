"""Preprocessing run: samples many shapes in parallel into a store, resumes earlier runs, and isolates failures."""

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import psutil
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.store import SampleStore
from latentsdf.data.zarr_layout import StorePath
from latentsdf.geometry.mesh_sdf.mesh_distance import BACKENDS
from latentsdf.utils.console import console, track
from latentsdf.utils.errors import ConfigError, LatentSDFError, StoreError
from latentsdf.utils.object_storage import ObjectPath, locate
from preprocessing.isolation import ResourceLimits
from preprocessing.outdated_shapes import find_outdated
from preprocessing.pool import TaskPool
from preprocessing.report import Outcome, Report
from preprocessing.shape import preprocess
from preprocessing.shards import Shard, ShardPlan, open_shard
from preprocessing.sources import Source

_MEMORY_SHARE = 0.9  # of the machine's memory, for all local workers together


def run(
    sources: Sequence[Source],
    out: StorePath,
    config: SamplingConfig,
    *,
    workers: int = 0,
    timeout: float = 600.0,
    memory_gb: float = 0.0,
    overwrite: bool = False,
    renew: bool = False,
    seed: int = 0,
    previews: Path | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
) -> Report:
    """Sample every source that is new or has changed since it was sampled.

    Each shape is sampled in an isolated process. If the process dies, the shape is retried once. A shape that exceeds
    the time or memory limit is recorded as failed. After Ctrl-C the run stops when the current shapes are complete; a
    second Ctrl-C stops it immediately. Processes are spawned, so a calling script needs `if __name__ == "__main__":`.

    Args:
        sources: The shapes.
        out: Folder of the store, or its URL in object storage; created if missing. An existing store must have the
            same settings and seed.
        config: Sampling settings.
        workers: Number of local processes, by default the number of cores; with an executor, the number of shapes
            that it processes at the same time.
        timeout: Time limit per shape, in seconds.
        memory_gb: Memory limit per process, in GB (10^9 bytes); 0 for nine tenths of the machine's memory divided by
            the number of processes, or for no limit with an executor.
        overwrite: Sample shapes again that are already in the store.
        renew: Sample shapes again that an earlier version sampled with known faults.
        seed: Seed of the run, from which the seeds of the shapes are derived.
        previews: Folder for previews <category>/<id>.png; a preview that cannot be drawn is a warning.
        executor: Runs the tasks on its own workers instead of local processes.
        shard: Sample only this part of the sources, into a store of its own (`shards.merge`).

    Returns:
        Report of the run, which is also saved in the store.

    Raises:
        ConfigError: A setting is out of range.
        StoreError: The store has other settings, another seed or another shard, or the disk is full.
        LatentSDFError: The executor dropped a task.
    """
    require_valid(config)
    if workers < 0 or not timeout > 0 or not memory_gb >= 0:
        raise ConfigError(
            "workers and memory must not be negative, and the time limit must be positive, "
            f"got {workers}, {memory_gb} and {timeout}"
        )
    out = locate(out)
    if isinstance(out, ObjectPath):
        if out.scheme == "memory":
            raise ConfigError(f"{out}: the workers are processes, which do not share their memory; name another store")
        if previews is not None:
            raise ConfigError(f"{out}: previews are drawn on disk, beside a store on disk; leave them out")
    open_shard(out, config, None if shard is None else ShardPlan.of(shard, sources, seed))
    if shard is not None:
        sources = shard.select(sources)
    store = SampleStore.create(out, config)
    outdated = {} if overwrite else find_outdated(sources, store, seed, renew=renew)
    stored = set(store.keys())
    pending = [s for s in sources if overwrite or s.key in outdated or s.key not in stored]
    max_workers = workers or os.cpu_count() or 1
    workers = max(1, min(max_workers, len(pending)))
    report = Report(out, config, len(sources), len(sources) - len(pending), workers, previews, outdated=outdated)
    memory = int(memory_gb * 1e9) or (
        None if executor else int(_MEMORY_SHARE * psutil.virtual_memory().total / workers)
    )
    pool = TaskPool(workers, ResourceLimits(timeout, memory), executor)
    start = time.monotonic()
    try:
        _run_tasks(pool, pending, store, seed, report, max_queued=2 * max_workers)
    except LatentSDFError:
        pool.kill()
        report.seconds = time.monotonic() - start
        with suppress(OSError, StoreError):
            report.save()
        raise
    finally:
        pool.close()
    report.seconds = time.monotonic() - start
    report.save()
    return report


def require_valid(config: SamplingConfig) -> None:
    """Check that preprocessing supports the settings; imported stores may have others.

    Raises:
        ConfigError: The sparse lattice has no cells.
        MissingExtraError: The package that measures distances is not installed.
    """
    if config.sparse_resolution < 1:
        raise ConfigError(f"sparse_resolution must be at least 1, got {config.sparse_resolution}")
    if config.distance != "latentsdf":
        BACKENDS[config.distance](trimesh.creation.box())


def _run_tasks(
    pool: TaskPool, pending: Sequence[Source], store: SampleStore, seed: int, report: Report, max_queued: int
) -> None:
    """Submit the shapes, at most `max_queued` at a time, and record each outcome."""
    queue, retried = deque(pending), set[str]()
    tasks: dict[Future[Outcome], Source] = {}
    path, previews = store.path.absolute(), report.previews and report.previews.absolute()
    with track("preprocessing", total=len(pending), unit="shape", hourly=True) as advance:
        try:
            while queue or tasks:
                while queue and len(tasks) < max_queued:
                    source = queue.popleft()
                    tasks[pool.submit(preprocess, source, path, store.config, seed, previews)] = source
                for future in wait(tasks, return_when=FIRST_COMPLETED).done:
                    source = tasks.pop(future)
                    if future.cancelled():
                        raise LatentSDFError(
                            f"{store.path}: the executor dropped {source.key}; check that its cluster still runs, "
                            "then run again to resume"
                        )
                    if isinstance(future.exception(), BrokenProcessPool) and source.key not in retried:
                        retried.add(source.key)
                        queue.append(source)
                    else:
                        advance()
                        _record_outcome(report, source, future)
        except KeyboardInterrupt:
            report.interrupted = True
            _wait_for_running(pool, tasks)
            for future, source in tasks.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    _record_outcome(report, source, future)
        except LatentSDFError:
            for future in tasks:
                future.cancel()
            raise


def _wait_for_running(pool: TaskPool, tasks: Iterable[Future[Outcome]]) -> None:
    """Cancel queued tasks and wait for running tasks; a second Ctrl-C kills the running tasks."""
    console.print("stopping after the current shapes; press Ctrl-C again to stop now")
    try:
        wait([future for future in tasks if not future.cancel()])
    except KeyboardInterrupt:
        pool.kill()


def _record_outcome(report: Report, source: Source, future: Future[Outcome]) -> None:
    """Add the result of a task to the report; a StoreError ends the run."""
    error = future.exception()
    if isinstance(error, StoreError):
        raise error
    if error is None:
        report.sampled[source.key] = future.result()
    else:
        report.failed[source.key] = f"{source.name}: {_failure_reason(source, error)}"


def _failure_reason(source: Source, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"{error} twice on this shape"
    if isinstance(error, LatentSDFError | FileNotFoundError | TimeoutError | MemoryError):
        return str(error).removeprefix(f"{source.name}: ")
    return f"unexpected {type(error).__name__}: {error}"
