"""One space used by several threads, one folder written by several processes, and many calls in one process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from helpers.files import files_of
from helpers.settings import SMALL_SAMPLING
from helpers.training import subprocess_environment

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.store import SampleStore
from preprocessing import job
from preprocessing.sources import procedural


def _results(space: ls.ShapeSpace, number: int) -> dict[str, Any]:
    """Results of the functions that keep something for later calls, or evaluate the model in another way."""
    name = space.ids[number % len(space)]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 3))
    observation = space.observe(np.column_stack((points, np.abs(points).max(1) - 0.4)))
    return {
        "distance": space.distance(name, points),
        "vertices": space.extract(name, 16).vertices,
        "neighbors": space.nearest(name, 3).distances,
        "path": np.asarray(space.interpolate(name, space.ids[0], steps=3)),
        "fit": space.invert(observation, steps=2, starts=1, points=64).code,
    }


@pytest.mark.slow
def test_threads(space_path: Path) -> None:
    """Threads that share a space get what a single thread gets."""
    alone = ls.load(space_path, device="cpu")
    expected = [_results(alone, number) for number in range(4)]
    shared = ls.load(space_path, device="cpu")
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda number: _results(shared, number), range(4)))
    for number in range(4):
        for name, value in expected[number].items():
            np.testing.assert_array_equal(found[number][name], value, err_msg=f"{name} of thread {number}")


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_two_runs_into_one_store(tmp_path: Path) -> None:
    """Two preprocessing runs at the same time into one store leave the shapes of one run."""
    chosen = procedural(["lamp"], count=4)
    job.run(chosen, tmp_path / "one.zarr", SMALL_SAMPLING, workers=1)
    with ThreadPoolExecutor(2) as executor:
        runs = executor.map(
            lambda order: job.run(chosen[::order], tmp_path / "both.zarr", SMALL_SAMPLING, workers=1), (1, -1)
        )
        assert not any(run.failed for run in runs)
    assert files_of(tmp_path / "both.zarr" / "shapes") == files_of(tmp_path / "one.zarr" / "shapes")
    store = SampleStore.open(tmp_path / "both.zarr")
    for key in store:
        store.verify(key)
    assert list((tmp_path / "both.zarr" / "tmp").iterdir()) == []


@pytest.mark.slow
def test_two_processes_on_one_index(space_path: Path, tmp_path: Path) -> None:
    """Fits that two processes add to one retrieval index at the same time are both in it."""
    space, targets = ls.load(space_path, device="cpu"), ("a", "b")
    for name in targets:
        space.invert(space.extract("table_0000", 32), steps=1, starts=1, points=64).save(tmp_path / name)
    space.save(tmp_path / "space")
    add = [sys.executable, "-m", "latentsdf", "retrieve", str(tmp_path / "space"), "--device", "cpu", "--add"]
    running = [subprocess.Popen([*add, str(tmp_path / name)], env=subprocess_environment()) for name in targets]
    assert [process.wait(120) for process in running] == [0, 0]
    assert {"a", "b"} <= set(ls.load(tmp_path / "space", device="cpu").nearest("table_0000", 6).ids)


@pytest.mark.slow
def test_memory_and_open_files(space: ls.ShapeSpace, tmp_path: Path) -> None:
    """Repeated fits and images neither take more memory nor leave files open; LATENTSDF_TORTURE repeats 300 times."""
    repetitions = 300 if "LATENTSDF_TORTURE" in os.environ else 6
    process = psutil.Process()
    observation = space.observe(space.extract("table_0001", 32))

    def use() -> None:
        fit = space.invert(observation, steps=1, starts=1, points=64)
        fit.save(tmp_path / "fit")
        image = space.render(ls.load_fit(tmp_path / "fit"), size=8)
        assert image.size == (8, 8)

    for _ in range(3):
        use()
    memory, files = process.memory_info().rss, process.num_fds()
    for _ in range(repetitions):
        use()
    assert process.num_fds() <= files
    assert process.memory_info().rss < memory + 64 * 2**20


@pytest.mark.slow
def test_few_open_files(space_path: Path, store_path: Path, tmp_path: Path) -> None:
    """Stores and spaces are read and written with a limit of 64 open files."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = psutil.Process().num_fds()
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + 32, hard))
    try:
        assert cli.main(["info", str(store_path), "--verify"]) == 0
        meshes = ["extract", str(space_path), "--all", "--resolution", "16", "--device", "cpu"]
        assert cli.main([*meshes, "--out", str(tmp_path / "meshes")]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list((tmp_path / "meshes").rglob("*.ply"))) == 4
