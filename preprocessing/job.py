"""Many shapes -> the store: a pool of processes, resume, and one failure never stops the run."""

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import psutil

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.store import SampleStore
from latentsdf.utils.console import console, track
from latentsdf.utils.errors import ConfigError, LatentSDFError, StoreError
from preprocessing.isolation import Limits
from preprocessing.pool import Pool
from preprocessing.report import Outcome, Report
from preprocessing.resume import outdated
from preprocessing.shape import preprocess
from preprocessing.sources import Source

_SHARE = 0.9  # of the machine's memory, for all workers together


def run(
    sources: Sequence[Source],
    out: Path,
    config: SamplingConfig,
    *,
    workers: int = 0,
    timeout: float = 600.0,
    memory_gb: float = 0.0,
    overwrite: bool = False,
    seed: int = 0,
    previews: Path | None = None,
    executor: Executor | None = None,
) -> Report:
    """Preprocess every source that the store does not hold as it is now; returns what was made, what failed, and why.

    With `previews` each shape made is drawn as `previews/<category>/<id>.png`, too; where that fails it is a warning.

    Each shape is made in a process of its own worker: one that dies costs its shape one retry; one that takes longer
    than `timeout` seconds, or more than `memory_gb` GiB (0: nine tenths of the memory over the workers), is given up.
    `executor` hands the shapes to its workers instead of local ones, `workers` of them at once, each limited in the
    same way, but in memory only if that is given. After Ctrl-C the shapes in work are finished, after a second one
    nothing is. Processes are spawned, so a script that calls this needs `if __name__ == "__main__":`.

    Raises ConfigError for settings out of range, StoreError for a store with other settings or another seed, or for a
    full disk.
    """
    require_valid(config)
    if workers < 0 or not timeout > 0 or not memory_gb >= 0:
        raise ConfigError(
            "workers and memory must not be negative and the time-out positive, "
            f"got {workers}, {memory_gb} and {timeout}"
        )
    store = SampleStore.create(out, config)
    changed = {} if overwrite else outdated(sources, store, seed)
    pending = [s for s in sources if overwrite or s.key in changed or s.key not in store]
    most = workers or os.cpu_count() or 1
    lanes = max(1, min(most, len(pending)))
    report = Report(out, config, len(sources), len(sources) - len(pending), lanes, previews, outdated=changed)
    memory = int(memory_gb * 2**30) or (None if executor else int(_SHARE * psutil.virtual_memory().total / lanes))
    pool = Pool(lanes, Limits(timeout, memory), executor)
    start = time.monotonic()
    try:
        _work_off(pool, pending, store, seed, report, ahead=2 * most)
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
    """Raise ConfigError for settings that imported stores may have but preprocessing cannot sample with."""
    if config.sparse_resolution < 1:
        raise ConfigError(f"sparse_resolution must be at least 1, got {config.sparse_resolution}")


def _work_off(pool: Pool, pending: Sequence[Source], store: SampleStore, seed: int, report: Report, ahead: int) -> None:
    """Submit the shapes, `ahead` of them at a time, and record each outcome."""
    queue, retried = deque(pending), set[str]()
    tasks: dict[Future[Outcome], Source] = {}
    path, previews = store.path.absolute(), report.previews and report.previews.absolute()
    with track("preprocessing", total=len(pending), unit="shape", hourly=True) as advance:
        try:
            while queue or tasks:
                while queue and len(tasks) < ahead:
                    source = queue.popleft()
                    tasks[pool.submit(preprocess, source, path, store.config, seed, previews)] = source
                for future in wait(tasks, return_when=FIRST_COMPLETED).done:
                    source = tasks.pop(future)
                    if future.cancelled():
                        raise LatentSDFError(
                            f"{store.path}: the executor dropped {source.key}; see whether its cluster still runs, "
                            "then run again to resume"
                        )
                    if isinstance(future.exception(), BrokenProcessPool) and source.key not in retried:
                        retried.add(source.key)
                        queue.append(source)
                    else:
                        advance()
                        _record(report, source, future)
        except KeyboardInterrupt:
            report.interrupted = True
            _finish(pool, tasks)
            for future, source in tasks.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    _record(report, source, future)
        except LatentSDFError:
            for future in tasks:
                future.cancel()
            raise


def _finish(pool: Pool, tasks: Iterable[Future[Outcome]]) -> None:
    console.print("stopping after the shapes in work; Ctrl-C again to stop now")
    try:
        wait([future for future in tasks if not future.cancel()])
    except KeyboardInterrupt:
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
    if isinstance(error, LatentSDFError | FileNotFoundError | TimeoutError | MemoryError):
        return str(error).removeprefix(f"{source.name}: ")
    return f"unexpected {type(error).__name__}: {error}"
