"""Tests of runs on a Dask cluster and on other executors: equal stores, limits, failures."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.files import files_of
from helpers.settings import SMALL_SAMPLING

from latentsdf.utils.errors import ConfigError, LatentSDFError, MissingExtraError, StoreError
from preprocessing import __main__ as command
from preprocessing import cluster, job
from preprocessing.isolation import close_local_processes
from preprocessing.report import Outcome
from preprocessing.sources import Source, procedural

SMALL_FLAGS = ["--resolution", "32", "--band-voxels", "2", "--sparse-resolution", "16", "--near", "200",
               "--uniform", "200", "--surface", "200"]  # fmt: skip


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """Address of a scheduler with two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit="4GiB", dashboard_address=None
    ) as local:
        yield local.scheduler_address


@pytest.mark.slow
def test_equality_of_dask_and_local_stores(dask_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Dask cluster produces the same shapes and previews as local processes."""
    monkeypatch.chdir(tmp_path)
    words = ["--source", "procedural", "--category", "lamp", "--count", "3", "--preview", *SMALL_FLAGS]
    assert command.main([*words, "--out", "dask.zarr", "--dask", dask_address]) == 0
    assert command.main([*words, "--out", "local.zarr", "--workers", "1"]) == 0
    local = files_of(tmp_path / "local.zarr" / "shapes")
    assert len(local) > 3 * 7 and files_of(tmp_path / "dask.zarr" / "shapes") == local
    assert files_of(tmp_path / "dask.zarr.previews") == files_of(tmp_path / "local.zarr.previews")
    report = json.loads((tmp_path / "dask.zarr" / "report.json").read_text())
    assert report["workers"] == 2 and not report["failed"]


def _misbehave(source: Source, *_: object) -> Outcome:
    """Die, sleep or allocate memory according to the id of the source."""
    if source.id == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    hoard = b"x" * (1 << 30) if source.id == "eats" else b""
    if source.id in ("sleeps", "eats"):
        time.sleep(60 + len(hoard[:1]))
    return Outcome(2.0, 1000, 2500, 9000, "pseudonormal", 1.0, True, 0.0)


@pytest.mark.slow
def test_limits_on_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks on an executor are isolated and limited, and the executor stays open."""
    monkeypatch.setattr(job, "preprocess", _misbehave)
    out, failed = tmp_path / "s.zarr", {}
    with ThreadPoolExecutor(2) as executor:
        for names, limits in ((("dies", "sleeps", "works"), {"timeout": 1}), (("eats",), {"memory_gb": 0.75})):
            chosen = [Source("x", name) for name in names]
            report = job.run(chosen, out, SMALL_SAMPLING, workers=2, executor=executor, **limits)
            assert list(report.sampled) == ["x/works"] * ("works" in names)
            failed |= report.failed
        assert executor.submit(int).result() == 0  # The executor is still open.
        close_local_processes()
    assert failed == {
        "x/dies": "x/dies: the worker process died twice on this shape",
        "x/sleeps": "x/sleeps: took longer than 1 s and was stopped",
        "x/eats": "x/eats: exceeded 0.75 GB of memory and was stopped; raise --memory-gb, and lower --workers "
        "if the machine has no more memory",
    }


class _FailingExecutor(Executor):
    """Executor of which the first task fails, or is dropped without an error, while the others wait."""

    def __init__(self, error: Exception | None) -> None:
        self.tasks: list[Future[object]] = []
        self._error = error

    def submit(self, *_: object, **__: object) -> Future[object]:
        future: Future[object] = Future()
        if not self.tasks and self._error is None:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif not self.tasks:
            future.set_exception(self._error)
        self.tasks.append(future)
        return future


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, r"the executor dropped lamp/lamp_0000; .* then run again to resume"),
        (StoreError("the disk is full"), "the disk is full"),
    ],
)
def test_cancellation_of_waiting_tasks(error: Exception | None, message: str, tmp_path: Path) -> None:
    """An error that ends the run cancels the waiting tasks and saves the report."""
    executor = _FailingExecutor(error)
    with pytest.raises(LatentSDFError, match=message):
        job.run(procedural(["lamp"], count=3), tmp_path / "s.zarr", SMALL_SAMPLING, workers=2, executor=executor)
    assert len(executor.tasks) == 3 and all(task.cancelled() for task in executor.tasks[1:])
    assert json.loads((tmp_path / "s.zarr" / "report.json").read_text())["made"] == []


@pytest.mark.slow
def test_unusable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing scheduler, a missing Dask and contradicting options are reported."""
    monkeypatch.setattr(cluster, "_CONNECT_TIMEOUT", 0.5)
    words = ["--source", "procedural", "--out", str(tmp_path / "s.zarr"), "--dask", "tcp://127.0.0.1:1"]
    assert command.main([*words, "--workers", "2"]) == 2
    no_answer = "no Dask scheduler answers .*; start one with 'dask scheduler'"
    for address in ("nonsense://x", "tcp://127.0.0.1:1"):
        with pytest.raises(ConfigError, match=no_answer), cluster.connected(address):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    advice = r"pip install 'latentsdf\[dask\]', here and on the workers"
    with pytest.raises(MissingExtraError, match=advice), cluster.connected("tcp://127.0.0.1:1"):
        pass
    assert command.main(words) == 2 and not (tmp_path / "s.zarr").exists()
