"""Tests of the report of a run: statistics, Markdown page, earlier reports, full disk."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.files import files_of
from helpers.settings import SMALL_SAMPLING

from latentsdf.data.store import SampleStore
from latentsdf.utils.errors import StoreError
from preprocessing import job
from preprocessing.report import Outcome, Report
from preprocessing.sources import procedural

OUTCOME = Outcome(2.0, 1000, 2500, 9000, "pseudonormal", 1.0, True, 0.0)


def test_statistics_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON and Markdown contain speed, storage, failures and the shapes that need inspection."""
    names = ["a", "b", "c", "d"]
    sampled = {
        f"x/{name}": replace(OUTCOME, seconds=seconds, confidence=confidence, closed=closed, thin=thin, sheet=sheet)
        for name, seconds, confidence, closed, thin, sheet in zip(
            names, (1.0, 2.0, 3.0, 10.0), (1.0, 0.985, 0.99, 0.5), (True, False, True, False), (0.0, 0.0, 0.5, 0.05),
            (0.0, 0.3, 0.004, 1.0), strict=True,
        )
    }  # fmt: skip
    monkeypatch.setattr(SampleStore, "keys", lambda _: sorted(sampled))
    previews = tmp_path / "s.zarr.previews"
    (previews / "x").mkdir(parents=True)
    (previews / "x" / "d.png").touch()
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING).path
    report = Report(
        store, SMALL_SAMPLING, selected=6, existing=0, workers=2, previews=previews, sampled=sampled, seconds=36.0
    )
    report.failed["x/e"] = "e.obj: the file is empty"
    report.save()
    statistics = json.loads((store / "report.json").read_text())
    assert statistics["settings"]["resolution"] == 64 and statistics["made"] == [f"x/{name}" for name in names]
    assert statistics["shapes_per_hour"] == 400 and statistics["seconds"] == 36
    seconds = statistics["seconds_per_shape"]
    assert seconds["mean"] == 4 and seconds["p95"] == pytest.approx(8.95)
    assert list(seconds["slowest"]) == ["x/d", "x/c", "x/b", "x/a"]
    assert statistics["bytes_per_band_sample"] == 2.5 and statistics["sign_methods"] == {"pseudonormal": 4}
    assert list(statistics["low_confidence"].items()) == [("x/d", 0.5), ("x/b", 0.985)]
    assert statistics["thin"] == {"x/c": 0.5} and statistics["open"] == ["x/b", "x/d"]
    assert list(statistics["sheets"].items()) == [("x/d", 1.0), ("x/b", 0.3)]
    page = (store / "report.md").read_text()
    for line in (
        "6 shapes: 4 made, 0 already there, 1 failed, 1 not reached",
        "| speed | 400 shapes/h with 2 workers, 0:00:36 |",
        "| seconds per shape | mean 4.0, p95 8.9; slowest x/d 10.0, x/c 3.0, x/b 2.0, x/a 1.0 |",
        "| storage | 2.5 bytes per band sample, 0.0 MB per shape |",
        "- e.obj: the file is empty",
        "- [x/d](<../s.zarr.previews/x/d.png>) 0.500",
        "- x/b 0.985",
        "- x/c 50%",
        "| open, thin, sheets | 2 open, 1 thin, 2 with sheets, of 4 in the store |",
        "- [x/d](<../s.zarr.previews/x/d.png>) 100%",
        "- x/b 30%",
    ):
        assert line in page.splitlines()


@pytest.mark.usefixtures("in_process")
def test_measurements_of_earlier_runs(tmp_path: Path) -> None:
    """A later run keeps the measurements of earlier ones, unless their report is unreadable."""
    out = tmp_path / "s.zarr"
    first = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    seconds = {key: shape.seconds for key, shape in first.shapes.items()}
    assert sorted(seconds) == SampleStore.open(out).keys() and all(s is not None and s > 0 for s in seconds.values())
    assert all(0 < shape.band_bytes < shape.stored_bytes for shape in first.shapes.values())
    again = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    assert again.sampled == {} and again.shapes == first.shapes
    (out / "report.json").write_text("cut o")
    third = job.run(procedural(["lamp"], count=2), out, SMALL_SAMPLING, workers=1)
    assert third.shapes == {key: replace(shape, seconds=None, thin=None) for key, shape in first.shapes.items()}


def _fill_disk(path: Path) -> None:
    """Write one byte and fail as a full disk does."""
    path.write_bytes(b"{")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported, and the previous report is kept."""
    out = tmp_path / "s.zarr"
    SampleStore.create(out, SMALL_SAMPLING)
    report = Report(out, SMALL_SAMPLING, 1, 0)
    report.save()
    before = files_of(out)
    assert {"report.json", "report.md"} < before.keys()
    report.failed["a/b"] = "b.obj: something"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda path, *_, **__: _fill_disk(path))
        with pytest.raises(StoreError, match=r"s.zarr: the disk is full"):
            report.save()
    assert files_of(out) == before
    report.save()
    assert "b.obj: something" in (out / "report.md").read_text()
