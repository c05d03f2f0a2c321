"""A process pool in which a dying or stuck worker takes only its own task with it.

`ProcessPoolExecutor` breaks as a whole when one of its processes dies, and cannot say which task did it. Here each lane
is a thread with a process of its own, replaced when it dies. A worker computes on one thread, leaves Ctrl-C to its
parent, and ends when its parent is gone.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

# Read by the libraries when a worker imports them, hence set in the parent before it spawns one.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "IGL_NUM_THREADS",
    "ZARR_THREADING__MAX_WORKERS",
)


class IsolatedPool(Executor):
    """Up to `workers` processes, each task in one of them for at most `timeout` seconds.

    A future holds TimeoutError after that, BrokenProcessPool when its worker died. While the pool is open the
    environment limits libraries to one compute thread.
    """

    def __init__(self, workers: int, timeout: float) -> None:
        self._timeout = timeout
        self._lanes = ThreadPoolExecutor(workers)
        self._lane = threading.local()
        self._processes: list[ProcessPoolExecutor] = []
        self._environment = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function that can be pickled."""
        return self._lanes.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let running tasks finish; with `cancel_futures` drop the waiting ones."""
        self._lanes.shutdown(wait, cancel_futures=cancel_futures)
        for process in self._processes:
            process.shutdown(wait)
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def kill(self) -> None:
        """End running tasks, too."""
        self._lanes.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()
        self.shutdown()

    def _run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        process = getattr(self._lane, "process", None)
        if process is None:
            context = multiprocessing.get_context("spawn")
            process = self._lane.process = ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker)
            self._processes.append(process)
        start = time.monotonic()
        try:
            return process.submit(_run_limited, self._timeout, fn, args, kwargs).result()
        except BrokenProcessPool as error:
            self._lane.process = None
            self._processes.remove(process)
            process.shutdown()
            if time.monotonic() - start >= self._timeout:
                raise TimeoutError(f"took longer than {self._timeout:g} s and was given up") from error
            raise BrokenProcessPool("the worker process died") from error


def _run_limited(timeout: float, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Ends the process at the time-out, even out of compiled code that holds the interpreter."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(timeout, exit=True, file=nowhere)
        try:
            return fn(*args, **kwargs)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that chat must not get into the JSON on the parent's standard output.
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
