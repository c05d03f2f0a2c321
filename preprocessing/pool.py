"""Who works: processes of this machine, or the workers of somebody's executor, such as a Dask cluster's."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from preprocessing.isolation import Limits, Processes, isolated


class Pool:
    """Hands out tasks, each of which runs isolated and within `limits`, wherever that is."""

    def __init__(self, workers: int, limits: Limits, executor: Executor | None = None) -> None:
        self._limits = limits
        self._executor = executor
        self._processes = Processes()
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run a function that can be pickled."""
        if self._executor is not None:
            return self._executor.submit(isolated, self._limits, fn, *args)
        return self._threads.submit(self._processes.run, self._limits, fn, *args)

    def kill(self) -> None:
        """End what this machine has in work; an executor's workers finish what they began."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._processes.kill()

    def close(self) -> None:
        """Let running tasks finish, and the processes go. An executor stays open, it is its owner's."""
        self._threads.shutdown()
        self._processes.close()
