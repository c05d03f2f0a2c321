"""Tests of isolated worker processes: results, errors, limits, replacement of dead processes."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest

from preprocessing.isolation import IsolatedProcesses, ResourceLimits, close_local_processes, run_isolated

LIMITS = ResourceLimits(seconds=60)


@pytest.fixture
def processes() -> Iterator[IsolatedProcesses]:
    """Worker processes that are shut down after the test."""
    processes = IsolatedProcesses()
    yield processes
    processes.close()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _environment_of_worker() -> tuple[str | None, bool]:
    return os.environ.get("OMP_NUM_THREADS"), signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_results_errors_and_reuse(processes: IsolatedProcesses) -> None:
    """Results and exceptions of calls are passed on, and the process is reused."""
    assert processes.run(LIMITS, divmod, 7, 2) == (3, 1)
    first = processes.run(LIMITS, os.getpid)
    with pytest.raises(ZeroDivisionError):
        processes.run(LIMITS, divmod, 1, 0)
    assert processes.run(LIMITS, os.getpid) == first != os.getpid()


def test_threads_and_signals_of_workers(processes: IsolatedProcesses) -> None:
    """A worker has one thread and ignores SIGINT; the environment of the parent is restored."""
    before = dict(os.environ)
    assert processes.run(LIMITS, _environment_of_worker) == ("1", True)
    assert dict(os.environ) == before


def test_replacement_of_dead_process(processes: IsolatedProcesses) -> None:
    """A process that dies fails only its own call."""
    with pytest.raises(BrokenProcessPool, match="the worker process died"):
        processes.run(LIMITS, _die)
    assert processes.run(LIMITS, abs, -3) == 3


@pytest.mark.slow
def test_limits(processes: IsolatedProcesses) -> None:
    """A call that exceeds a limit is stopped, and the next call gets another process."""
    with pytest.raises(TimeoutError, match=r"took longer than 0.3 s and was stopped"):
        processes.run(ResourceLimits(seconds=0.3), time.sleep, 60)
    with pytest.raises(MemoryError, match="GB of memory and was stopped; raise --memory-gb"):
        processes.run(ResourceLimits(seconds=60, memory=1 << 20), time.sleep, 60)
    assert processes.run(LIMITS, abs, -3) == 3


def test_calls_after_kill(processes: IsolatedProcesses) -> None:
    """After `kill`, no further call is accepted."""
    processes.run(LIMITS, abs, -3)
    processes.kill()
    with pytest.raises(BrokenProcessPool):
        processes.run(LIMITS, abs, -3)


def test_shutdown_of_local_processes() -> None:
    """`run_isolated` keeps its process until `close_local_processes`, and starts another one afterward."""
    first = run_isolated(LIMITS, os.getpid)
    assert run_isolated(LIMITS, os.getpid) == first
    close_local_processes()
    assert run_isolated(LIMITS, os.getpid) != first
    close_local_processes()
