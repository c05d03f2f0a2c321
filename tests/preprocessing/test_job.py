"""The offline job: sources, determinism, failures that are named, resume, crashes and time-outs."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import trimesh
from helpers import SMALL_SAMPLING, files_of
from PIL import Image
from rich.progress import Progress
from rich.text import Text

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.dfaust import load_frame
from latentsdf.data.mesh_datasets import find_meshes
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.utils.console import HourlyRateColumn
from latentsdf.utils.errors import ConfigError, MeshError, StoreError
from preprocessing import __main__ as command
from preprocessing import job
from preprocessing.report import Outcome, Report
from preprocessing.shape import preprocess
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
    assert [s.key for s in files(folder, pattern="box/?")] == ["box/a", "box/b"]
    assert [s.key for s in procedural(["lamp", "table"], count=3, pattern="*_0001")] == [
        "lamp/lamp_0001", "table/table_0001",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no shape selected out of 3 procedural ones"):
        procedural(["lamp"], count=3, pattern="x*")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"x": {"box": ["a"]}}))
    assert [s.key for s in files(folder, split=split)] == ["box/a"]
    split.write_text(json.dumps({"x": {"box": ["a", "zz"]}}))
    with pytest.raises(ConfigError, match="1 of 2 shapes are not among the meshes, for example box/zz"):
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
    one, two = (files_of(tmp_path / f"{workers}.zarr" / "shapes") for workers in (1, 2))
    assert len(one) > 2 * 7 and one == two


def test_the_report_tells_speed_storage_and_doubtful_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a", "b", "c", "d"]
    made = {
        f"x/{name}": replace(OUTCOME, seconds=seconds, confidence=confidence, closed=closed, thin=thin, sheet=sheet)
        for name, seconds, confidence, closed, thin, sheet in zip(
            names, (1.0, 2.0, 3.0, 10.0), (1.0, 0.7, 0.98, 0.5), (True, False, True, False), (0.0, 0.0, 0.5, 0.05),
            (0.0, 0.3, 0.004, 1.0), strict=True,
        )
    }  # fmt: skip
    monkeypatch.setattr(SampleStore, "keys", lambda _: sorted(made))
    previews = tmp_path / "s.zarr.previews"
    (previews / "x").mkdir(parents=True)
    (previews / "x" / "d.png").touch()
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING).path
    report = Report(store, SMALL_SAMPLING, asked=6, present=0, workers=2, previews=previews, made=made, seconds=36.0)
    report.failed["x/e"] = "e.obj: the file is empty"
    report.save()
    told = json.loads((store / "report.json").read_text())
    assert told["settings"]["resolution"] == 64 and told["made"] == [f"x/{name}" for name in names]
    assert told["shapes_per_hour"] == 400 and told["seconds"] == 36
    assert told["seconds_per_shape"]["mean"] == 4 and told["seconds_per_shape"]["p95"] == pytest.approx(8.95)
    assert list(told["seconds_per_shape"]["slowest"]) == ["x/d", "x/c", "x/b", "x/a"]
    assert told["bytes_per_band_sample"] == 2.5 and told["sign_methods"] == {"pseudonormal": 4}
    assert list(told["low_confidence"].items()) == [("x/d", 0.5), ("x/b", 0.7)]
    assert told["thin"] == {"x/c": 0.5} and told["open"] == ["x/b", "x/d"]
    assert list(told["sheets"].items()) == [("x/d", 1.0), ("x/b", 0.3)]
    page = (store / "report.md").read_text()
    for line in (
        "6 shapes: 4 made, 0 already there, 1 failed, 1 not reached",
        "| speed | 400 shapes/h with 2 workers, 0:00:36 |",
        "| seconds per shape | mean 4.0, p95 8.9; slowest x/d 10.0, x/c 3.0, x/b 2.0, x/a 1.0 |",
        "| storage | 2.5 bytes per band sample, 0.0 MB per shape |",
        "- e.obj: the file is empty",
        "- [x/d](<../s.zarr.previews/x/d.png>) 0.500",
        "- x/b 0.700",
        "- x/c 50%",
        "| open, thin, sheets | 2 open, 1 thin, 2 with sheets, of 4 in the store |",
        "- [x/d](<../s.zarr.previews/x/d.png>) 100%",
        "- x/b 30%",
    ):
        assert line in page.splitlines()


def test_a_later_report_keeps_what_earlier_runs_measured(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    first = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    seconds = {key: shape.seconds for key, shape in first.shapes.items()}
    assert sorted(seconds) == SampleStore.open(out).keys() and all(s is not None and s > 0 for s in seconds.values())
    assert all(0 < shape.band_bytes < shape.stored_bytes for shape in first.shapes.values())
    again = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    assert again.made == {} and again.shapes == first.shapes
    (out / "report.json").write_text("cut o")
    third = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    assert third.shapes == {key: replace(shape, seconds=None, thin=None) for key, shape in first.shapes.items()}


def test_previews_stand_beside_the_store_and_their_failure_costs_no_shape(tmp_path: Path) -> None:
    words = ["--source", "procedural", "--category", "lamp", "--count", "2", "--workers", "1", *SMALL_FLAGS]
    good, bad = tmp_path / "good.zarr", tmp_path / "bad.zarr"
    assert command.main([*words, "--out", str(good), "--preview"]) == 0
    keys = ["lamp/lamp_0000", "lamp/lamp_0001"]
    for key in keys:
        with Image.open(tmp_path / "good.zarr.previews" / f"{key}.png") as image:
            assert len(image.getcolors(1 << 24)) > 100
    (tmp_path / "bad.zarr.previews").write_text("a file where the folder should be")
    assert command.main([*words, "--out", str(bad), "--preview", "--strict"]) == 0
    assert SampleStore.open(bad).keys() == keys
    report = json.loads((bad / "report.json").read_text())
    assert report["failed"] == {} and len(report["warnings"]) == 2
    assert report["warnings"][0].startswith("lamp/lamp_0000: no preview, ")
    assert report["warnings"][0] in (bad / "report.md").read_text()


def test_progress_tells_shapes_an_hour_and_the_time_left() -> None:
    clock = 0.0
    progress = Progress(HourlyRateColumn("shape"), get_time=lambda: clock, auto_refresh=False)
    task = progress.add_task("", total=4)
    assert progress.columns[0](progress.tasks[0]) == Text("")
    clock = 90.0  # more than the 30 s that Rich looks back
    progress.advance(task)
    assert str(progress.columns[0](progress.tasks[0])) == "40 shapes/h, 0:04:30 left"
    progress.advance(task, 3)
    assert str(progress.columns[0](progress.tasks[0])) == "160 shapes/h"


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(*_: object) -> None:
    time.sleep(60)


OUTCOME = Outcome(2.0, 1000, 2500, 9000, "pseudonormal", 1.0, True, 0.0)


def _die_of_b(source: Source, out: Path, *_: object) -> Outcome:
    """`b` kills its worker while the others are in work; `c` does so once."""
    time.sleep(0.2)
    first = not (out / source.id).exists()
    (out / source.id).touch()
    if source.id == "b" or (source.id == "c" and first):
        _die()
    return OUTCOME


def test_a_worker_that_dies_costs_its_shape_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _die)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert report.failed == {"a/b": "a/b: the worker process died twice on this shape"}


def test_only_the_shape_that_kills_its_worker_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _die_of_b)
    chosen = [Source("x", name) for name in "abcd"]
    report = job.run(chosen, tmp_path / "s.zarr", SMALL_SAMPLING, workers=2)
    assert report.failed == {"x/b": "x/b: the worker process died twice on this shape"}
    assert sorted(report.made) == ["x/a", "x/c", "x/d"]


def test_a_shape_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _sleep)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1, timeout=0.5)
    assert report.failed == {"a/b": "a/b: took longer than 0.5 s and was given up"}


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "preprocess", _full)
    with pytest.raises(StoreError, match="the disk is full"):
        job.run([Source("a", name) for name in "bcdefgh"], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert (tmp_path / "s.zarr" / "report.json").is_file()


def _full(*_: object) -> None:
    raise StoreError("the disk is full")


def _no_space(path: Path) -> None:
    """Write as much as a full disk takes."""
    path.write_bytes(b"{")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_disk_full_of_pictures_costs_the_shape_until_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, previews, source = tmp_path / "s.zarr", tmp_path / "p", procedural(["lamp"], count=1)[0]
    store = SampleStore.create(out, SMALL_SAMPLING)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", lambda _, path, **__: _no_space(path))
        with pytest.raises(StoreError, match=r"s.zarr: the disk is full; .* free space and run again to resume"):
            preprocess(source, out, SMALL_SAMPLING, 0, previews)
    assert store.keys() == [] and files_of(previews) == {}
    preprocess(source, out, SMALL_SAMPLING, 0, previews)
    assert store.keys() == [source.key] and list(files_of(previews)) == [f"{source.key}.png"]


def test_a_disk_full_at_the_report_is_named_and_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.zarr"
    SampleStore.create(out, SMALL_SAMPLING)
    report = Report(out, SMALL_SAMPLING, 1, 0)
    report.save()
    before = files_of(out)
    assert {"report.json", "report.md"} < before.keys()
    report.failed["a/b"] = "b.obj: something"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda path, *_, **__: _no_space(path))
        with pytest.raises(StoreError, match=r"s.zarr: the disk is full"):
            report.save()
    assert files_of(out) == before
    report.save()
    assert "b.obj: something" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 8}, "resolution must be 16 to 1024 cells per axis, got 8"),
        ({"sparse_resolution": 48}, "sparse_resolution must divide resolution, got 48 and 64; set it to 32"),
        ({"band_voxels": 0.0}, "band_voxels must be positive, got 0.0"),
        ({"near": -1}, "near must not be negative, got -1"),
    ],
)
def test_settings_out_of_range_stop_before_the_first_shape(
    change: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        job.run([Source("a", "b")], tmp_path / "s.zarr", replace(SMALL_SAMPLING, **change))
    assert not (tmp_path / "s.zarr").exists()


def test_the_sparse_resolution_follows_the_resolution() -> None:
    assert {r: command.sparse_default(r) for r in (32, 64, 96, 100, 127, 129, 256, 512, 1000)} == {
        32: 32, 64: 64, 96: 96, 100: 100, 127: 127, 129: 43, 256: 128, 512: 128, 1000: 125,
    }  # fmt: skip
    for resolution in range(32, 1025):
        job.require_valid(SamplingConfig(resolution=resolution, sparse_resolution=command.sparse_default(resolution)))


@pytest.mark.parametrize(("resolution", "sparse"), [("64", 64), ("131", 1)])
def test_a_resolution_needs_no_second_flag(
    resolution: str, sparse: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source", "procedural", "--category", "lamp", "--count", "1", "--resolution", resolution]
    few = ["--band-voxels", "2", "--near", "200", "--uniform", "200", "--surface", "200", "--workers", "1"]
    assert command.main([*words, *few, "--out", str(tmp_path / "s.zarr")]) == 0
    store = SampleStore.open(tmp_path / "s.zarr")
    assert store.config.sparse_resolution == sparse
    assert ("has no divisor from 32 to 128" in capsys.readouterr().err) == (sparse == 1)
    assert store.read("lamp/lamp_0000").samples.sparse_distance.shape == (sparse + 1,) * 3


def test_an_interrupted_run_leaves_whole_shapes_and_no_worker(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    words = ["--source", "procedural", "--count", "12", "--out", str(out), "--workers", "2", *SMALL_FLAGS]
    # A shell's background job ignores Ctrl-C, and so would the child.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "preprocessing", *words]
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=heed)
    deadline = time.monotonic() + 40
    while not (out / "shapes").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 130
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_lives(process.pid)
    store = SampleStore.open(out)
    assert 0 < len(store) < 48
    for key in store:
        store.verify(key)
    report = json.loads((out / "report.json").read_text())
    assert report["interrupted"] and sorted(report["made"]) == store.keys() and not report["failed"]


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def registrations(tmp_path: Path) -> Path:
    """Two sequences of a growing box, 25 and 3 frames, in the layout of D-FAUST."""
    box = trimesh.creation.box((1, 2, 3))
    path = tmp_path / "registrations_f.hdf5"
    with h5py.File(path, "w") as file:
        file["faces"] = box.faces.astype(np.uint32)
        for name, count in {"50002_jumping_jacks": 25, "50004_punching": 3}.items():
            file[name] = box.vertices[:, :, None] * (1 + np.arange(count)) + 5
    return path


def test_frames_of_d_faust_become_shapes(registrations: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    words = ["--source", str(registrations), "--out", str(out), "--workers", "1", *SMALL_FLAGS]
    assert command.main([*words, "--glob", "50002_*"]) == 0
    store = SampleStore.open(out)
    assert store.keys() == [f"50002/50002_jumping_jacks_000{frame}" for frame in ("00", "10", "20")]
    for key in store:
        record = store.read(key)
        assert record.watertight and record.similarity.center == pytest.approx((5, 5, 5))
        half = record.similarity.to_user(record.samples.surface[:, :3]) - 5
        assert np.abs(half).max(0) == pytest.approx(np.array([0.5, 1, 1.5]) * (1 + int(key[-2:])), rel=1e-4)
    assert len({store.info(key).source_sha256 for key in store}) == 3


def test_frames_by_step_subject_split_pattern_and_limit(registrations: Path, tmp_path: Path) -> None:
    assert len(files(registrations)) == 3 + 1 and len(files(registrations, step=1)) == 25 + 3
    chosen = files(registrations, step=2, categories=["50004"])
    assert [s.id for s in chosen] == ["50004_punching_00000", "50004_punching_00002"]
    assert chosen[0].name == "registrations_f.hdf5: 50004_punching_00000"
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"x": {"50002": ["50002_jumping_jacks_00007"]}}))
    assert [s.key for s in files(registrations, split=split)] == ["50002/50002_jumping_jacks_00007"]
    with pytest.raises(ConfigError, match="no mesh selected out of 4 found; categories there: 50002, 50004"):
        files(registrations, pattern="60000_*")
    with pytest.raises(ConfigError, match="the frame step must be at least 1, got 0"):
        files(registrations, step=0)
    with pytest.raises(MeshError, match="has no frame '50004_punching_00003'"):
        load_frame(registrations, "50004_punching_00003")


def test_hdf5_files_of_another_layout_are_refused(registrations: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of registrations"):
        files(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(MeshError, match="text.hdf5: is no HDF5 file, or it is cut off"):
        files(tmp_path / "text.hdf5")
    with h5py.File(registrations, "a") as file:
        file["50004_turned"] = np.zeros((3, 8, 3))
    with pytest.raises(MeshError, match=r"sequences .V, 3, T. such as .* here '50004_turned' is .3, 8, 3."):
        files(registrations)
    with h5py.File(registrations, "a") as file:
        del file["faces"]
    with pytest.raises(MeshError, match="'faces' .F, 3. .* this file holds 50002_jumping_jacks, 50004_punching"):
        files(registrations)
    assert command.main(["--source", str(registrations), "--out", str(tmp_path / "s.zarr")]) == 2


def test_a_frame_that_is_no_surface_is_named(registrations: Path, tmp_path: Path) -> None:
    with h5py.File(registrations, "a") as file:
        file["50004_punching"][:, :, 1] = np.nan
    chosen = files(registrations, step=1, categories=["50004"])
    report = job.run(chosen, tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)  # Two finish in either order.
    assert list(report.made) == ["50004/50004_punching_00000", "50004/50004_punching_00002"]
    reason = "registrations_f.hdf5: 50004_punching_00001: 100.0% of the faces have vertices that are not finite numbers"
    assert report.failed == {"50004/50004_punching_00001": reason}


def test_a_run_killed_twice_and_resumed_makes_the_same_store(tmp_path: Path) -> None:
    words = ["--source", "procedural", "--count", "3", *SMALL_FLAGS]
    whole, stopped = tmp_path / "whole.zarr", tmp_path / "stopped.zarr"
    assert command.main([*words, "--out", str(whole), "--workers", "1"]) == 0
    for least in (1, 4):
        run = [sys.executable, "-m", "preprocessing", *words, "--out", str(stopped), "--workers", "2"]
        process = subprocess.Popen(run, start_new_session=True)
        while process.poll() is None and len(list(stopped.glob("shapes/*/*/zarr.json"))) < least:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        while _group_lives(process.pid):
            time.sleep(0.01)
    assert 4 <= len(SampleStore.open(stopped)) < 12
    assert command.main([*words, "--out", str(stopped), "--workers", "2"]) == 0
    assert files_of(stopped / "shapes") == files_of(whole / "shapes")
    assert list((stopped / "tmp").iterdir()) == []


def test_a_shape_whose_source_changed_is_made_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.zarr"
    words = ["--source", str(folder), "--category", "box", "--out", str(out), "--workers", "1", *SMALL_FLAGS]
    assert command.main(words) == 0
    before = files_of(out / "shapes")
    save(trimesh.creation.box((5, 1, 1)), folder / "box" / "a.obj")
    os.utime(folder / "box" / "b.ply")
    (out / "shapes" / "box" / "b" / "zarr.json").write_text("{")
    assert command.main(words) == 0
    report = json.loads((out / "report.json").read_text())
    reason = "box/a: a.obj is not what it was made from any more"
    assert report["outdated"] == {"box/a": reason, "box/b": "box/b: what the store holds is damaged"}
    assert sorted(report["made"]) == ["box/a", "box/b"] and report["present"] == 0
    assert f"made again {reason}" in capsys.readouterr().err and f"- {reason}" in (out / "report.md").read_text()
    after = files_of(out / "shapes")
    assert sorted({Path(name).parts[1] for name in after if after[name] != before[name]}) == ["a"]
    (folder / "box" / "a.obj").write_text("")
    assert command.main([*words, "--glob", "a"]) == 1
    assert f"still as before {reason}" in capsys.readouterr().err and files_of(out / "shapes") == after
    (folder / "box" / "a.obj").unlink()
    assert command.main([*words, "--strict", "--glob", "b"]) == 0


def test_another_seed_is_refused_until_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.zarr"
    words = ["--source", "procedural", "--category", "lamp", "--count", "2", "--out", str(out), *SMALL_FLAGS]
    assert command.main([*words, "--workers", "1"]) == 0
    before = files_of(out / "shapes")
    assert command.main([*words, "--seed", "1"]) == 2
    assert "2 of its shapes were made with another --seed than 1, for example lamp/lamp_0000" in " ".join(
        capsys.readouterr().err.split()
    )
    assert command.main([*words, "--seed", "1", "--workers", "1", "--overwrite"]) == 0
    after = files_of(out / "shapes")
    assert before.keys() == after.keys() and before != after
