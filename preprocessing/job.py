"""Many shapes -> the store: a pool of processes, resume, and one failure never stops the run."""

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

from latentsdf.config import SamplingConfig
from latentsdf.errors import ConfigError, LatentSDFError, StoreError
from latentsdf.progress import console, track
from latentsdf.store import SampleStore
from preprocessing.pool import IsolatedPool
from preprocessing.report import Outcome, Report
from preprocessing.shape import preprocess
from preprocessing.sources import Source


def run(
    sources: Sequence[Source],
    out: Path,
    config: SamplingConfig,
    *,
    workers: int = 0,
    timeout: float = 600.0,
    overwrite: bool = False,
    seed: int = 0,
    previews: Path | None = None,
) -> Report:
    """Preprocess every source that the store does not hold yet; returns what was made and what failed, and why.

    With `previews` each shape made is drawn as `previews/<category>/<id>.png`, too; where that fails it is a warning.

    A worker that dies costs its shape one retry; a shape that takes longer than `timeout` seconds is given up. After
    Ctrl-C the shapes in work are finished, after a second one nothing is. Workers are spawned, so a script that calls
    this needs `if __name__ == "__main__":`. Raises ConfigError for settings out of range, StoreError for a store with
    other settings or a full disk.
    """
    require_valid(config)
    if workers < 0 or timeout <= 0:
        raise ConfigError(f"workers must not be negative and the time-out positive, got {workers} and {timeout}")
    store = SampleStore.create(out, config)
    pending = [s for s in sources if overwrite or s.key not in store]
    lanes = max(1, min(workers or os.cpu_count() or 1, len(pending)))
    report = Report(out, config, len(sources), len(sources) - len(pending), lanes, previews)
    pool = IsolatedPool(lanes, timeout)
    start = time.monotonic()
    try:
        _work_off(pool, pending, store, seed, report, ahead=2 * (workers or os.cpu_count() or 1))
    except StoreError:
        pool.kill()
        report.seconds = time.monotonic() - start
        with suppress(OSError):
            report.save()
        raise
    pool.shutdown()
    report.seconds = time.monotonic() - start
    report.save()
    return report


def require_valid(config: SamplingConfig) -> None:
    """ConfigError for a setting with which no shape could be sampled."""
    if not 16 <= config.resolution <= 1024:
        raise ConfigError(f"resolution must be 16 to 1024 cells per axis, got {config.resolution}")
    if config.sparse_resolution < 1 or config.resolution % config.sparse_resolution:
        raise ConfigError(
            f"sparse_resolution must divide resolution, got {config.sparse_resolution} and {config.resolution}; "
            f"set it to {config.resolution // 2}, for example"
        )
    if not config.band_voxels > 0:
        raise ConfigError(f"band_voxels must be positive, got {config.band_voxels}")
    for name in ("near", "near_std", "uniform", "surface"):
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{name} must not be negative, got {getattr(config, name)}")


def _work_off(
    pool: Executor, pending: Sequence[Source], store: SampleStore, seed: int, report: Report, ahead: int
) -> None:
    """Submit the shapes, `ahead` of them at a time, and record each outcome."""
    queue, retried = deque(pending), set[str]()
    tasks: dict[Future[Outcome], Source] = {}
    with track("preprocessing", total=len(pending), unit="shape", hourly=True) as advance:
        try:
            while queue or tasks:
                while queue and len(tasks) < ahead:
                    source = queue.popleft()
                    tasks[pool.submit(preprocess, source, store.path, store.config, seed, report.previews)] = source
                for future in wait(tasks, return_when=FIRST_COMPLETED).done:
                    source = tasks.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool) and source.key not in retried:
                        retried.add(source.key)
                        queue.append(source)
                    else:
                        advance()
                        _record(report, source, future)
        except KeyboardInterrupt:
            report.interrupted = True
            _finish(pool)
            for future, source in tasks.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    _record(report, source, future)


def _finish(pool: Executor) -> None:
    console.print("stopping after the shapes in work; Ctrl-C again to stop now")
    try:
        pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        if isinstance(pool, IsolatedPool):
            pool.kill()


def _record(report: Report, source: Source, future: Future[Outcome]) -> None:
    error = future.exception()
    if isinstance(error, StoreError):
        raise error
    if error is None:
        report.made[source.key] = future.result()
    else:
        report.failed[source.key] = f"{source.name}: {_reason(source, error)}"


def _reason(source: Source, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"{error} twice on this shape"
    if isinstance(error, LatentSDFError | FileNotFoundError | TimeoutError):
        return str(error).removeprefix(f"{source.name}: ")
    return f"unexpected {type(error).__name__}: {error}"
