"""Dask cluster as the executor of a preprocessing run. Dask is an optional dependency, imported on first use."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from latentsdf.utils.errors import ConfigError, MissingExtraError
from preprocessing.isolation import close_local_processes

_CONNECT_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Cluster:
    """A connected cluster."""

    executor: Executor
    """Runs tasks on the workers of the cluster."""
    threads: int
    """Number of threads of all workers, which is the number of shapes processed at the same time."""
    memory_gb: float
    """Memory in GB (10^9 bytes) per thread; 0 if the workers have no limit."""


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a cluster for the duration of the block.

    Args:
        address: Address of the scheduler, such as tcp://host:8786.

    Raises:
        MissingExtraError: Dask is not installed.
        ConfigError: No scheduler answers at this address, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("--dask needs Dask; pip install 'latentsdf[dask]', here and on the workers") from error
    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{address}: no Dask scheduler answers ({error}); start one with 'dask scheduler' and give its address, "
            "such as tcp://host:8786"
        ) from error
    with client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        threads = sum(worker["nthreads"] for worker in workers)
        if not threads:
            raise ConfigError(f"{address}: has no workers yet; start some with 'dask worker {address} --nthreads 1'")
        # Dask limits its own worker processes, but not the processes in which the shapes are sampled.
        memory = min((worker["memory_limit"] or 0) / worker["nthreads"] for worker in workers)
        try:
            # pure=False: a retry has the same arguments, and Dask must not return the failed result again.
            yield Cluster(client.get_executor(pure=False), threads, memory / 1e9)
        finally:
            if client.status == "running":
                client.run(close_local_processes)
