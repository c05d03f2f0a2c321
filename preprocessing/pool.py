"""Pool of workers for isolated tasks: local processes, or the workers of an executor such as a Dask cluster."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from preprocessing.isolation import IsolatedProcesses, ResourceLimits, run_isolated


class TaskPool:
    """Runs tasks in isolated processes with resource limits, locally or through an executor."""

    def __init__(self, workers: int, limits: ResourceLimits, executor: Executor | None = None) -> None:
        """Start the pool.

        Args:
            workers: Number of local processes.
            limits: Limits of each task.
            executor: Runs the tasks on its own workers instead of local processes; it stays open.
        """
        self._limits = limits
        self._executor = executor
        self._processes = IsolatedProcesses()
        self._threads = ThreadPoolExecutor(workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Schedule a call of a picklable function."""
        if self._executor is not None:
            return self._executor.submit(run_isolated, self._limits, fn, *args)
        return self._threads.submit(self._processes.run, self._limits, fn, *args)

    def kill(self) -> None:
        """Kill the local tasks; an executor's workers finish their current tasks."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._processes.kill()

    def close(self) -> None:
        """Wait for running tasks and shut down the local processes; an executor stays open."""
        self._threads.shutdown()
        self._processes.close()
