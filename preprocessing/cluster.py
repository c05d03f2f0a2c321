"""A Dask cluster as the executor of the job; the only file that knows Dask, imported only when asked for."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass

from latentsdf.utils.errors import ConfigError, MissingExtraError
from preprocessing.isolation import close_here

_PATIENCE = 10.0  # seconds for a scheduler to answer


@dataclass(frozen=True)
class Cluster:
    """What the job needs: where to submit, how many shapes run at once, and GiB of memory for each (0: no limit)."""

    executor: Executor
    threads: int
    memory_gb: float


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster whose scheduler has this address.

    Raises MissingExtraError without Dask, ConfigError when no scheduler answers or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("--dask needs Dask; pip install 'latentsdf[dask]', here and on the workers") from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
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
        # The processes in which shapes are made are not among those that Dask itself limits.
        memory = min((worker["memory_limit"] or 0) / worker["nthreads"] for worker in workers)
        try:
            # A second try has the arguments of the first, and is no repetition to save.
            yield Cluster(client.get_executor(pure=False), threads, memory / 2**30)
        finally:
            if client.status == "running":
                client.run(close_here)
