"""Tests of the task pool: local processes and executors."""

import os
from concurrent.futures import ThreadPoolExecutor

from preprocessing.isolation import ResourceLimits, close_local_processes
from preprocessing.pool import TaskPool

LIMITS = ResourceLimits(seconds=60)


def test_local_tasks() -> None:
    """Tasks run in as many other processes as there are workers."""
    pool = TaskPool(2, LIMITS)
    ids = {pool.submit(os.getpid).result() for _ in range(4)}
    assert os.getpid() not in ids and 1 <= len(ids) <= 2
    pool.close()


def test_executor_tasks() -> None:
    """With an executor tasks are isolated, too, and the executor stays open."""
    with ThreadPoolExecutor(1) as executor:
        pool = TaskPool(1, LIMITS, executor)
        assert pool.submit(os.getpid).result() != os.getpid()
        pool.close()
        assert executor.submit(abs, -3).result() == 3
        close_local_processes()
