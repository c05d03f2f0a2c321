"""Tests of the detection of outdated shapes and of other seeds."""

import json
import os
from pathlib import Path

import pytest
import trimesh
from helpers.files import files_of
from helpers.settings import SMALL_SAMPLING

from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.utils.errors import StoreError
from preprocessing import __main__ as command
from preprocessing.outdated_shapes import find_outdated
from preprocessing.shape import preprocess
from preprocessing.sources import files

SMALL_FLAGS = ["--resolution", "32", "--band-voxels", "2", "--sparse-resolution", "16", "--near", "200",
               "--uniform", "200", "--surface", "200"]  # fmt: skip


def test_reasons(folder: Path, tmp_path: Path) -> None:
    """Unchanged and missing shapes have no reason; changed and unreadable sources have one; other seeds are errors."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    boxes = files(folder, categories=["box"], pattern="[ab]")
    assert find_outdated(boxes, store, 0) == {}
    for source in boxes:
        preprocess(source, store.path, SMALL_SAMPLING, 0)
    assert find_outdated(boxes, store, 0) == {}
    with pytest.raises(
        StoreError, match="expected shapes sampled with --seed 1, found 2 with a different seed, for example box/a"
    ):
        find_outdated(boxes, store, 1)
    (folder / "box" / "a.obj").unlink()
    save(trimesh.creation.box((1, 1, 1)), folder / "box" / "b.ply")
    reasons = find_outdated(boxes, store, 0)
    assert list(reasons) == ["box/a", "box/b"] and "a.obj can no longer be read" in reasons["box/a"]
    assert reasons["box/b"] == "box/b: b.ply has changed since the shape was sampled"


@pytest.mark.usefixtures("in_process")
def test_changed_source(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shape is sampled again if its source changed or its data is damaged, and only then."""
    out = tmp_path / "s.zarr"
    words = ["--source", str(folder), "--category", "box", "--out", str(out), "--workers", "1", *SMALL_FLAGS]
    assert command.main(words) == 0
    before = files_of(out / "shapes")
    save(trimesh.creation.box((5, 1, 1)), folder / "box" / "a.obj")
    os.utime(folder / "box" / "b.ply")
    (out / "shapes" / "box" / "b" / "zarr.json").write_text("{")
    assert command.main(words) == 0
    report = json.loads((out / "report.json").read_text())
    reason = "box/a: a.obj has changed since the shape was sampled"
    assert report["outdated"] == {"box/a": reason, "box/b": "box/b: the stored shape is damaged"}
    assert sorted(report["made"]) == ["box/a", "box/b"] and report["present"] == 0
    assert f"sampled again {reason}" in capsys.readouterr().err and f"- {reason}" in (out / "report.md").read_text()
    after = files_of(out / "shapes")
    assert sorted({Path(name).parts[1] for name in after if after[name] != before[name]}) == ["a"]
    (folder / "box" / "a.obj").write_text("")
    assert command.main([*words, "--glob", "a"]) == 1
    assert f"outdated {reason}" in capsys.readouterr().err and files_of(out / "shapes") == after
    (folder / "box" / "a.obj").unlink()
    assert command.main([*words, "--strict", "--glob", "b"]) == 0


@pytest.mark.usefixtures("in_process")
def test_other_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another seed is rejected, unless shapes are overwritten."""
    out = tmp_path / "s.zarr"
    words = ["--source", "procedural", "--category", "lamp", "--count", "2", "--out", str(out), *SMALL_FLAGS]
    assert command.main([*words, "--workers", "1"]) == 0
    before = files_of(out / "shapes")
    assert command.main([*words, "--seed", "1"]) == 2
    assert (
        "expected shapes sampled with --seed 1, found 2 with a different seed, for example lamp/lamp_0000"
        in " ".join(capsys.readouterr().err.split())
    )
    assert command.main([*words, "--seed", "1", "--workers", "1", "--overwrite"]) == 0
    after = files_of(out / "shapes")
    assert before.keys() == after.keys() and before != after


@pytest.mark.usefixtures("in_process")
def test_more_copies_later(folder: Path, tmp_path: Path) -> None:
    """A run with more deformed copies adds only the new ones; other deformations replace the copies."""
    out = tmp_path / "s.zarr"
    words = ["--source", str(folder), "--glob", "box/a", "--out", str(out), "--workers", "1", *SMALL_FLAGS]
    assert command.main([*words, "--augment", "1"]) == 0
    before = files_of(out / "shapes")
    assert command.main([*words, "--augment", "2"]) == 0
    assert json.loads((out / "report.json").read_text())["made"] == ["box/a~2"]
    after = files_of(out / "shapes")
    assert all(after[name] == before[name] for name in before) and SampleStore.open(out).info("box/a~2").augmented
    (folder / "box" / "a.obj").write_bytes((folder / "box" / "a.obj").read_bytes() + b"# changed\n")
    assert command.main([*words, "--augment", "2"]) == 0
    assert sorted(json.loads((out / "report.json").read_text())["outdated"]) == ["box/a", "box/a~1", "box/a~2"]
