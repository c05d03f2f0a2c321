"""Many shapes -> the store: a pool of processes, resume, and one failure never stops the run."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from latentsdf.config import SamplingConfig
from latentsdf.errors import LatentSDFError, StoreError
from latentsdf.progress import track
from latentsdf.store import SampleStore
from preprocessing.report import Report
from preprocessing.shape import preprocess
from preprocessing.sources import Source

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "IGL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(
    sources: Sequence[Source],
    out: Path,
    config: SamplingConfig,
    *,
    workers: int = 0,
    timeout: float = 600.0,
    overwrite: bool = False,
    seed: int = 0,
) -> Report:
    """Preprocess every source that the store does not hold yet; returns what was made and what failed, and why.

    A worker that dies costs its shape one retry. A shape that takes longer than `timeout` seconds is given up, its
    workers are replaced, and the others it took down run again. Ctrl-C keeps every shape written so far.
    """
    store = SampleStore.create(out, config)
    pending = [s for s in sources if overwrite or s.key not in store]
    report = Report(store=out, asked=len(sources), present=len(sources) - len(pending))
    with track("preprocessing", total=len(pending), unit="shape") as advance:
        pool = _Pool(workers or os.cpu_count() or 1, timeout)
        try:
            for source, error in pool.run(pending, out, config, seed):
                advance()
                if error is None:
                    report.made.append(source.key)
                else:
                    report.failed[source.key] = f"{source.name}: {_reason(source, error)}"
                if isinstance(error, StoreError):
                    raise error
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            pool.close()
            report.save()
    return report


def _reason(source: Source, error: BaseException) -> str:
    if isinstance(error, LatentSDFError | FileNotFoundError | TimeoutError | BrokenProcessPool):
        return str(error).removeprefix(f"{source.name}: ")
    return f"unexpected {type(error).__name__}: {error}"


class _Pool:
    """A process pool that survives dead and stuck workers; at most `workers` shapes are in flight."""

    def __init__(self, workers: int, timeout: float) -> None:
        self.workers = workers
        self.timeout = timeout
        self._executor = self._start()
        self._busy = True

    def run(self, sources: Sequence[Source], out: Path, config: SamplingConfig, seed: int):  # type: ignore[no-untyped-def]
        """Yield (source, None or the error) as shapes finish."""
        queue = list(reversed(sources))
        retried: set[str] = set()
        running: dict[Future[None], tuple[Source, float]] = {}
        while queue or running:
            while queue and len(running) < self.workers:
                source = queue.pop()
                future = self._executor.submit(preprocess, source, out, config, seed)
                running[future] = (source, time.monotonic())
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            broken = [f for f in done if isinstance(f.exception(), BrokenProcessPool)]
            late = [f for f, (_, since) in running.items() if f not in done and time.monotonic() - since > self.timeout]
            for future in done:
                if future not in broken:
                    yield running.pop(future)[0], future.exception()
            if not broken and not late:
                continue
            # The pool has to be replaced, so whatever else was in flight runs again, and its own deaths are counted.
            self._kill()
            for future, (source, _) in running.items():
                if future in late:
                    yield source, TimeoutError(f"took longer than {self.timeout:.0f} s and was given up")
                elif future in broken and source.key in retried:
                    yield source, BrokenProcessPool("the worker process died twice on this shape")
                else:
                    if future in broken:
                        retried.add(source.key)
                    queue.append(source)
            running.clear()
            self._executor = self._start()
        self._busy = False

    def close(self) -> None:
        """Stop; shapes still in flight are not written."""
        if self._busy:
            self._kill()
        self._executor.shutdown()

    def _start(self) -> ProcessPoolExecutor:
        # Set here and inherited: the libraries read them when a worker imports them.
        os.environ.update({name: os.environ.get(name, value) for name, value in _ONE_THREAD.items()})
        return ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))

    def _kill(self) -> None:
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
