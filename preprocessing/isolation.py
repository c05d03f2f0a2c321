"""Processes in which a dying, stuck or greedy task takes only itself with it.

`ProcessPoolExecutor` breaks as a whole when one of its processes dies, and cannot say which task did it. Here each
thread that hands out work has a process of its own, replaced when it ends. It computes on one thread, leaves Ctrl-C to
its parent, and ends when its parent is gone. The parent watches its time and its memory.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_exit
from typing import Any

import psutil

# Read by the libraries when a worker imports them, hence set in the parent while it spawns one.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "IGL_NUM_THREADS",
    "ZARR_THREADING__MAX_WORKERS",
)
_LOOK = 0.1
"""Seconds between two looks at a worker: it gets to some hundred MB more than it may in that time."""


@dataclass(frozen=True)
class Limits:
    """What one task may take: wall time in seconds, and resident memory in bytes or None for any amount."""

    seconds: float
    memory: int | None = None


class Processes:
    """One process for each thread that calls `run`."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: dict[ProcessPoolExecutor, psutil.Process] = {}
        self._spawning = threading.Lock()
        self._killed = False

    def run(self, limits: Limits, fn: Callable[..., Any], /, *args: Any) -> Any:
        """The result of a function that can be pickled.

        Raises TimeoutError or MemoryError when it took more than it may, BrokenProcessPool when its process died.
        """
        try:
            process = self._process(fn)
            task = process.submit(fn, *args)
            excess = _watch(task, self._all[process], limits)
            if excess is None:
                return task.result()
        except BrokenProcessPool as error:
            self._drop()
            raise BrokenProcessPool("the worker process died") from error
        self._drop()
        raise excess

    def close(self) -> None:
        """End the processes, each when its task is done."""
        for process in list(self._all):
            process.shutdown()
            self._all.pop(process, None)

    def kill(self) -> None:
        """End the processes and their tasks, and start no more."""
        self._killed = True
        for worker in list(self._all.values()):
            _kill(worker)

    def _process(self, fn: Callable[..., Any]) -> ProcessPoolExecutor:
        process: ProcessPoolExecutor | None = getattr(self._own, "process", None)
        if process is None or process not in self._all:
            # A Dask worker is a daemon, which may have no children lest they outlive it. Ours do not.
            multiprocessing.current_process().daemon = False
            context = multiprocessing.get_context("spawn")
            process = self._own.process = ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker)
            with self._spawning, _environment(dict.fromkeys(_ONE_THREAD, "1")):
                ready = process.submit(_ready, fn)
            # Starting, and importing what the task needs, is not on the task's clock.
            self._all[process] = psutil.Process(ready.result())
        if self._killed:
            raise BrokenProcessPool
        return process

    def _drop(self) -> None:
        process = self._own.process
        del self._own.process
        self._all.pop(process, None)
        process.shutdown()


_HERE = Processes()


def isolated(limits: Limits, fn: Callable[..., Any], /, *args: Any) -> Any:
    """`Processes.run` wherever somebody's executor calls it: it isolates as well on another machine."""
    return _HERE.run(limits, fn, *args)


def close_here() -> None:
    """End the idle processes that `isolated` left for its next call."""
    _HERE.close()


def _watch(task: Future[Any], worker: psutil.Process, limits: Limits) -> Exception | None:
    """Wait for the task; end its worker when it takes more than it may, and return what it exceeded."""
    deadline = time.monotonic() + limits.seconds
    excess: Exception | None = None
    while excess is None and not wait([task], timeout=_LOOK).done:
        with suppress(psutil.Error):  # It died; the task will say so.
            if limits.memory is not None and worker.memory_info().rss > limits.memory:
                excess = MemoryError(
                    f"took more than {limits.memory / 2**30:.3g} GiB of memory and was given up; allow it more with "
                    "--memory-gb, and fewer --workers where the machine has no more"
                )
        if time.monotonic() > deadline:
            excess = TimeoutError(f"took longer than {limits.seconds:g} s and was given up")
    if excess is not None:
        _kill(worker)
    return excess


def _kill(worker: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        worker.kill()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _ready(_: Callable[..., Any]) -> int:
    """The number of this process, which has imported the function by now."""
    return os.getpid()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that chat must not get into the JSON on the parent's standard output.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_exit([parent.sentinel])
    os._exit(1)
