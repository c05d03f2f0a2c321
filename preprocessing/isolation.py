"""Worker processes in which a task that crashes, hangs or exceeds its memory does not affect other tasks.

A `ProcessPoolExecutor` breaks as a whole when one of its processes dies, and does not report which task was
responsible. Here every submitting thread has an executor with one process, which is replaced when it ends. The worker
process computes on one thread, ignores SIGINT, and exits when its parent exits. The parent limits its run time and
memory.
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

# Libraries read these variables when they are imported, so the parent sets them while it spawns a worker.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "IGL_NUM_THREADS",
    "ZARR_THREADING__MAX_WORKERS",
)
_POLL_INTERVAL = 0.1
"""Polling interval in seconds. A worker may exceed its memory limit by a few hundred MB within one interval."""


@dataclass(frozen=True)
class ResourceLimits:
    """Limits of one task."""

    seconds: float
    """Wall time in seconds."""
    memory: int | None = None
    """Resident memory in bytes; None for no limit."""


class IsolatedProcesses:
    """Worker processes, one for each thread that calls `run`."""

    def __init__(self) -> None:
        """Create the object without processes; the first call of `run` in a thread starts the process of the thread."""
        self._thread = threading.local()
        self._workers: dict[ProcessPoolExecutor, psutil.Process] = {}
        self._spawning = threading.Lock()
        self._killed = False

    def run(self, limits: ResourceLimits, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Call a picklable function in the process of the calling thread and return its result.

        Args:
            limits: Limits of the call; starting the process and importing the function do not count.
            fn: The function.
            *args: Arguments of the function.

        Raises:
            TimeoutError: The call exceeded the time limit.
            MemoryError: The process exceeded the memory limit.
            BrokenProcessPool: The process died.
        """
        try:
            process = self._get_process(fn)
            task = process.submit(fn, *args)
            violation = _enforce_limits(task, self._workers[process], limits)
            if violation is None:
                return task.result()
        except BrokenProcessPool as error:
            self._discard_process()
            raise BrokenProcessPool("the worker process died") from error
        self._discard_process()
        raise violation

    def close(self) -> None:
        """Shut down the processes after their current tasks."""
        for process in list(self._workers):
            process.shutdown()
            self._workers.pop(process, None)

    def kill(self) -> None:
        """Kill the processes with their tasks, and do not start new ones."""
        self._killed = True
        for worker in list(self._workers.values()):
            _kill(worker)

    def _get_process(self, fn: Callable[..., Any]) -> ProcessPoolExecutor:
        process: ProcessPoolExecutor | None = getattr(self._thread, "process", None)
        if process is None or process not in self._workers:
            # Python forbids daemon processes, such as Dask workers, from having children, because children could
            # outlive them. These children exit with their parent.
            multiprocessing.current_process().daemon = False
            context = multiprocessing.get_context("spawn")
            process = self._thread.process = ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker)
            with self._spawning, _environment(dict.fromkeys(_ONE_THREAD, "1")):
                ready = process.submit(_process_id, fn)
            # Starting the process and importing the function do not count toward the time limit.
            self._workers[process] = psutil.Process(ready.result())
        if self._killed:
            raise BrokenProcessPool
        return process

    def _discard_process(self) -> None:
        process = self._thread.process
        del self._thread.process
        self._workers.pop(process, None)
        process.shutdown()


_LOCAL_PROCESSES = IsolatedProcesses()


def run_isolated(limits: ResourceLimits, fn: Callable[..., Any], /, *args: Any) -> Any:
    """Call `IsolatedProcesses.run` in the process in which an executor, such as a Dask cluster, runs this function."""
    return _LOCAL_PROCESSES.run(limits, fn, *args)


def close_local_processes() -> None:
    """Shut down the idle processes that `run_isolated` keeps for later calls."""
    _LOCAL_PROCESSES.close()


def _enforce_limits(task: Future[Any], worker: psutil.Process, limits: ResourceLimits) -> Exception | None:
    """Wait for a task, and kill its worker if it exceeds a limit; returns the exception for the exceeded limit."""
    deadline = time.monotonic() + limits.seconds
    violation: Exception | None = None
    while violation is None and not wait([task], timeout=_POLL_INTERVAL).done:
        with suppress(psutil.Error):  # If the worker died, the result of the task reports it.
            if limits.memory is not None and worker.memory_info().rss > limits.memory:
                violation = MemoryError(
                    f"exceeded {limits.memory / 1e9:.3g} GB of memory and was stopped; raise --memory-gb, and lower "
                    "--workers if the machine has no more memory"
                )
        if time.monotonic() > deadline:
            violation = TimeoutError(f"took longer than {limits.seconds:g} s and was stopped")
    if violation is not None:
        _kill(worker)
    return violation


def _kill(worker: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        worker.kill()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block."""
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


def _process_id(_: Callable[..., Any]) -> int:
    """Return the id of this process, which has imported the function to unpickle the argument."""
    return os.getpid()


def _start_worker() -> None:
    """Initialize a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Output of libraries must not mix with the JSON on the standard output of the parent.
    os.dup2(2, 1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Wait until the parent process exits, then exit."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_exit([parent.sentinel])
    os._exit(1)
