"""The offline job: sources, determinism, failures that are named, resume, crashes and time-outs."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from conftest import SMALL_SAMPLING

from latentsdf.errors import ConfigError
from latentsdf.geometry.files import find_meshes
from latentsdf.geometry.mesh import save
from latentsdf.store import SampleStore
from preprocessing import __main__ as command
from preprocessing import job
from preprocessing.sources import Source, files, procedural

SMALL_FLAGS = ["--resolution", "32", "--band-voxels", "2", "--sparse-resolution", "16", "--near", "200",
               "--uniform", "200", "--surface", "200"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two boxes, a sphere, and a broken file in two categories."""
    root = tmp_path / "meshes"
    save(trimesh.creation.box((1, 2, 3)), root / "box" / "a.obj")
    save(trimesh.creation.box((3, 2, 1)), root / "box" / "b.ply")
    save(trimesh.creation.icosphere(3), root / "ball" / "c.stl")
    (root / "box" / "broken.obj").write_text("")
    return root


def test_sources_by_category_split_and_pattern(folder: Path, tmp_path: Path) -> None:
    assert [s.key for s in files(folder)] == ["ball/c", "box/a", "box/b", "box/broken"]
    assert [s.key for s in files(folder, categories=["ball"])] == ["ball/c"]
    assert [s.key for s in files(folder, pattern="b*")] == ["box/b", "box/broken"]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"x": {"box": ["a"]}}))
    assert [s.key for s in files(folder, split=split)] == ["box/a"]
    split.write_text(json.dumps({"x": {"box": ["a", "zz"]}}))
    with pytest.raises(ConfigError, match="1 of 2 shapes are not among the meshes, for example zz"):
        files(folder, split=split)
    with pytest.raises(ConfigError, match="no mesh selected out of 4 found; categories there: ball, box"):
        files(folder, categories=["sofa"])
    with pytest.raises(FileNotFoundError, match="no such folder of meshes"):
        files(tmp_path / "nowhere")


def test_shapenet_layouts_are_detected_and_categories_have_two_names(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 1, 1))
    save(box, tmp_path / "v1" / "03001627" / "abc" / "model.obj")
    save(box, tmp_path / "v2" / "03001627" / "abc" / "models" / "model_normalized.obj")
    for version in ("v1", "v2"):
        for name in ("chair", "03001627"):
            found = find_meshes(tmp_path / version, categories=[name])
            assert [(f.category, f.id) for f in found] == [("03001627", "abc")]


def test_a_run_names_its_failures_and_continues(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    arguments = ["--source", str(folder), "--out", str(out), "--workers", "2", *SMALL_FLAGS]
    assert command.main(arguments) == 0
    assert SampleStore.open(out).keys() == ["ball/c", "box/a", "box/b"]
    report = json.loads((out / "report.json").read_text())
    assert report["failed"] == {"box/broken": "broken.obj: the file is empty"}
    assert "broken.obj: the file is empty" in (out / "report.md").read_text()
    stamp = (out / "shapes" / "box" / "a").stat().st_mtime_ns
    assert command.main([*arguments, "--strict"]) == 1
    assert (out / "shapes" / "box" / "a").stat().st_mtime_ns == stamp
    assert command.main(["--source", str(folder), "--out", str(tmp_path / "t.zarr"), "--glob", "broken"]) == 1
    assert command.main([*arguments[:4], "--near", "7"]) == 2
    assert command.main(["--source", str(tmp_path / "nowhere"), "--out", str(out)]) == 2


def test_stores_do_not_depend_on_the_worker_count(tmp_path: Path) -> None:
    chosen = procedural(["lamp"], count=2)
    for workers in (1, 2):
        job.run(chosen, tmp_path / f"{workers}.zarr", SMALL_SAMPLING, workers=workers)
    one, two = (SampleStore.open(tmp_path / f"{w}.zarr") for w in (1, 2))
    for key in one:
        a, b = one.read(key).samples, two.read(key).samples
        for name in ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(*_: object) -> None:
    time.sleep(60)


def test_a_worker_that_dies_costs_its_shape_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _die)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert report.failed == {"a/b": "a/b: the worker process died twice on this shape"}


def test_a_shape_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _sleep)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1, timeout=0.5)
    assert report.failed == {"a/b": "a/b: took longer than 0 s and was given up"}


def test_ctrl_c_keeps_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = job._Pool.run

    def interrupted(*arguments: object):  # type: ignore[no-untyped-def]
        yield next(finish(*arguments))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(job._Pool, "run", interrupted)
    report = job.run(procedural(["table"], count=4), tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert report.interrupted and len(report.made) == 1
    store = SampleStore.open(tmp_path / "s.zarr")
    assert set(report.made) <= set(store.keys())
    for key in store:
        store.verify(key)
