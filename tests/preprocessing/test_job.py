"""Tests of preprocessing runs: determinism, failures, crashes, time limits, interruption, resumption."""

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
from helpers.files import files_of
from helpers.settings import SMALL_SAMPLING
from PIL import Image

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import ConfigError, StoreError
from preprocessing import __main__ as command
from preprocessing import job
from preprocessing.report import Outcome
from preprocessing.sources import Source, files, procedural

SMALL_FLAGS = ["--resolution", "32", "--band-voxels", "2", "--sparse-resolution", "16", "--near", "200",
               "--uniform", "200", "--surface", "200"]  # fmt: skip


OUTCOME = Outcome(2.0, 1000, 2500, 9000, "pseudonormal", 1.0, True, 0.0)


@pytest.mark.usefixtures("in_process")
def test_failures_and_continuation(folder: Path, tmp_path: Path) -> None:
    """A failure is reported and does not stop the run, and a second run does not repeat finished shapes."""
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


@pytest.mark.slow
def test_independence_of_worker_count(tmp_path: Path) -> None:
    """One and two workers produce the same bytes."""
    chosen = procedural(["lamp"], count=2)
    for workers in (1, 2):
        job.run(chosen, tmp_path / f"{workers}.zarr", SMALL_SAMPLING, workers=workers)
    one, two = (files_of(tmp_path / f"{workers}.zarr" / "shapes") for workers in (1, 2))
    assert len(one) > 2 * 7 and one == two


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_previews(tmp_path: Path) -> None:
    """Previews are written next to the store, and a failed preview is a warning."""
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


def _die(*_: object) -> None:
    """Kill the worker process."""
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(*_: object) -> None:
    """Exceed the time limit."""
    time.sleep(60)


def _die_of_b(source: Source, out: Path, *_: object) -> Outcome:
    """Kill the worker for source `b`, and once for source `c`, while other tasks run."""
    time.sleep(0.2)
    first = not (out / source.id).exists()
    (out / source.id).touch()
    if source.id == "b" or (source.id == "c" and first):
        _die()
    return OUTCOME


@pytest.mark.slow
def test_dying_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape is recorded as failed if its worker dies twice."""
    monkeypatch.setattr(job, "preprocess", _die)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert report.failed == {"a/b": "a/b: the worker process died twice on this shape"}


@pytest.mark.slow
def test_dying_worker_among_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the shape that kills its worker repeatedly fails; one that does so once is retried."""
    monkeypatch.setattr(job, "preprocess", _die_of_b)
    chosen = [Source("x", name) for name in "abcd"]
    report = job.run(chosen, tmp_path / "s.zarr", SMALL_SAMPLING, workers=2)
    assert report.failed == {"x/b": "x/b: the worker process died twice on this shape"}
    assert sorted(report.sampled) == ["x/a", "x/c", "x/d"]


@pytest.mark.slow
def test_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape that exceeds the time limit is recorded as failed."""
    monkeypatch.setattr(job, "preprocess", _sleep)
    report = job.run([Source("a", "b")], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1, timeout=0.5)
    assert report.failed == {"a/b": "a/b: took longer than 0.5 s and was stopped"}


def _full(*_: object) -> None:
    """Fail as on a full disk."""
    raise StoreError("the disk is full")


@pytest.mark.usefixtures("in_process")
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the run and saves the report."""
    monkeypatch.setattr(job, "preprocess", _full)
    with pytest.raises(StoreError, match="the disk is full"):
        job.run([Source("a", name) for name in "bcdefgh"], tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    assert (tmp_path / "s.zarr" / "report.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 8}, "resolution must be at least 16, got 8"),
        ({"sparse_resolution": 48}, "sparse_resolution must divide resolution, got 48 and 64; set it to 32"),
        ({"band_voxels": 0.0}, "band_voxels must be above 0, got 0.0"),
        ({"near": -1}, "near must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range(change: dict[str, int], message: str, tmp_path: Path) -> None:
    """Invalid settings are rejected before the store is created."""
    with pytest.raises(ConfigError, match=message):
        job.run([Source("a", "b")], tmp_path / "s.zarr", replace(SMALL_SAMPLING, **change))
    assert not (tmp_path / "s.zarr").exists()


def test_default_sparse_resolution() -> None:
    """The default sparse resolution is the largest divisor up to 128 and always valid."""
    assert {r: command.sparse_default(r) for r in (32, 64, 96, 100, 127, 129, 256, 512, 1000)} == {
        32: 32, 64: 64, 96: 96, 100: 100, 127: 127, 129: 43, 256: 128, 512: 128, 1000: 125,
    }  # fmt: skip
    for resolution in range(32, 1025):
        job.require_valid(SamplingConfig(resolution=resolution, sparse_resolution=command.sparse_default(resolution)))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("resolution", "sparse"), [("64", 64), ("131", 1)])
def test_resolution_without_sparse_resolution(
    resolution: str, sparse: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resolution is valid without a sparse resolution; an unsuitable divisor causes a note."""
    words = ["--source", "procedural", "--category", "lamp", "--count", "1", "--resolution", resolution]
    few = ["--band-voxels", "2", "--near", "200", "--uniform", "200", "--surface", "200", "--workers", "1"]
    assert command.main([*words, *few, "--out", str(tmp_path / "s.zarr")]) == 0
    store = SampleStore.open(tmp_path / "s.zarr")
    assert store.config.sparse_resolution == sparse
    assert ("has no divisor from 32 to 128" in capsys.readouterr().err) == (sparse == 1)
    assert store.read("lamp/lamp_0000").samples.sparse_distance.shape == (sparse + 1,) * 3


@pytest.mark.slow
def test_interruption(tmp_path: Path) -> None:
    """SIGINT leaves complete shapes, a report, and no process."""
    out = tmp_path / "s.zarr"
    words = ["--source", "procedural", "--count", "12", "--out", str(out), "--workers", "2", *SMALL_FLAGS]
    # Background jobs of a shell ignore SIGINT, which the child would inherit.
    restore_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "preprocessing", *words]
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=restore_sigint)
    deadline = time.monotonic() + 40
    while not (out / "shapes").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 130
    while _group_exists(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_exists(process.pid)
    store = SampleStore.open(out)
    assert 0 < len(store) < 48
    for key in store:
        store.verify(key)
    report = json.loads((out / "report.json").read_text())
    assert report["interrupted"] and sorted(report["made"]) == store.keys() and not report["failed"]


def _group_exists(group: int) -> bool:
    """Return whether a process group has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("in_process")
def test_dfaust_frames(registrations: Path, tmp_path: Path) -> None:
    """D-FAUST frames are normalized, and keep their similarity and the hash of the frame."""
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


@pytest.mark.usefixtures("in_process")
def test_invalid_dfaust_frame(registrations: Path, tmp_path: Path) -> None:
    """A frame with NaN vertices fails, and the other frames are sampled."""
    with h5py.File(registrations, "a") as file:
        file["50004_punching"][:, :, 1] = np.nan
    chosen = files(registrations, step=1, categories=["50004"])
    report = job.run(chosen, tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)  # One worker, for a fixed order.
    assert list(report.sampled) == ["50004/50004_punching_00000", "50004/50004_punching_00002"]
    reason = "registrations_f.hdf5: 50004_punching_00001: 100.0% of the faces have vertices that are not finite numbers"
    assert report.failed == {"50004/50004_punching_00001": reason}


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_resumption_after_kill(tmp_path: Path) -> None:
    """A run that is killed and resumed produces the same bytes as an uninterrupted one."""
    words = ["--source", "procedural", "--category", "lamp", "--count", "8", *SMALL_FLAGS]
    whole, stopped = tmp_path / "whole.zarr", tmp_path / "stopped.zarr"
    assert command.main([*words, "--out", str(whole)]) == 0
    run = [sys.executable, "-m", "preprocessing", *words, "--out", str(stopped), "--workers", "2"]
    process = subprocess.Popen(run, start_new_session=True)
    while process.poll() is None and len(list(stopped.glob("shapes/*/*/zarr.json"))) < 2:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    while _group_exists(process.pid):
        time.sleep(0.01)
    assert 2 <= len(SampleStore.open(stopped)) < 8
    assert command.main([*words, "--out", str(stopped)]) == 0
    assert files_of(stopped / "shapes") == files_of(whole / "shapes")
    assert list((stopped / "tmp").iterdir()) == []
