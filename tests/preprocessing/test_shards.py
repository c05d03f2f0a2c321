"""Runs that are divided into shards, and their merging."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trimesh
from helpers.files import files_of, flip_byte
from helpers.kills import kill_at

from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.utils.errors import ConfigError, StoreError
from preprocessing import __main__ as command
from preprocessing import shards
from preprocessing.shards import Shard
from preprocessing.sources import Source, procedural

SMALL_FLAGS = ["--resolution", "16", "--band-voxels", "1", "--sparse-resolution", "16", "--near", "20",
               "--uniform", "20", "--surface", "20"]  # fmt: skip
LAMPS = ["--source", "procedural", "--category", "lamp", "--count", "3", "--augment", "1", *SMALL_FLAGS]


def _preprocess(out: Path, *flags: str, words: list[str] = LAMPS) -> int:
    return command.main([*words, "--workers", "1", "--out", str(out), *flags], hint=False)


def _merge(out: Path, *parts: Path, flags: tuple[str, ...] = ()) -> int:
    return command.main(["merge", *map(str, parts), "--out", str(out), *flags])


@pytest.fixture(scope="module")
def lamp_shards(tmp_path_factory: pytest.TempPathFactory, in_process_module: None) -> list[Path]:  # noqa: ARG001
    """Stores of the three shards of a run; not to be modified."""
    root = tmp_path_factory.mktemp("parts")
    paths = [root / f"{index}.zarr" for index in (1, 2, 3)]
    for index, path in enumerate(paths, 1):
        assert _preprocess(path, "--shard", f"{index}/3") == 0
    return paths


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, in_process_module: None) -> Path:  # noqa: ARG001
    """Store of the same run without shards; not to be modified."""
    path = tmp_path_factory.mktemp("whole") / "whole.zarr"
    assert _preprocess(path) == 0
    return path


def _root_attributes(store: Path) -> dict[str, Any]:
    """Attributes of a store except for the time at which it was made."""
    attributes = json.loads((store / "zarr.json").read_text())["attributes"]
    del attributes["created"]
    return attributes  # type: ignore[no-any-return]


def test_shards_partition_the_selection() -> None:
    """Each shape belongs to exactly one shard, and the sizes of shards differ by one at most."""
    chosen = [Source("a", str(number)) for number in range(23)]
    for count in (1, 2, 7, 23):
        parts = [Shard(index, count).select(chosen) for index in range(1, count + 1)]
        assert sorted(source.key for part in parts for source in part) == sorted(source.key for source in chosen)
        assert {len(part) for part in parts} <= {23 // count, -(-23 // count)}
    assert [source.id for source in Shard(2, 10).select(chosen)] == ["1", "11", "21"]
    with pytest.raises(ConfigError, match="--shard 3/24: only 23 shapes are selected, .* use at most 23 shards"):
        Shard(3, 24).select(chosen)


@pytest.mark.parametrize("text", ["3", "a/b", "1/", "-1/3", "1/3/4", "1.0/3", "", "١/٣"])
def test_malformed_shard(text: str) -> None:
    """Only two numbers name a shard."""
    with pytest.raises(ValueError, match="expected i/n, such as 2/16, got "):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "0/0"])
def test_shard_out_of_range(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Shards are numbered from 1, and the message says how to number a SLURM array."""
    with pytest.raises(SystemExit):
        _preprocess(Path("never.zarr"), "--shard", text)
    printed = " ".join(capsys.readouterr().err.split())
    assert f"numbered from 1 to their count, got {text}" in printed and "--array=1-N" in printed
    assert not Path("never.zarr").exists()


@pytest.mark.parametrize("link", [False, True])
def test_merged_equals_unsharded(link: bool, lamp_shards: list[Path], whole: Path, tmp_path: Path) -> None:
    """The merged store has the bytes of a run without shards, in any order of the shards; so has its report."""
    out = tmp_path / "merged.zarr"
    assert _merge(out, *reversed(lamp_shards), flags=("--link",) if link else ()) == 0
    merged, expected = files_of(out / "shapes"), files_of(whole / "shapes")
    assert len(expected) > 6 * 13 and merged == expected
    assert _root_attributes(out) == _root_attributes(whole)
    assert not (out / shards.MARKER).exists() and list((out / "tmp").iterdir()) == []
    shared = (out / "shapes/lamp/lamp_0000/zarr.json").stat().st_nlink
    assert shared == (2 if link else 1)
    reports = [json.loads((path / "report.json").read_text()) for path in (out, whole)]
    for report in reports:
        for statistics in report["shapes"].values():
            del statistics["seconds"]
    assert reports[0]["shapes"] == reports[1]["shapes"]


def test_unsharded_run_continues_a_merged_store(lamp_shards: list[Path], tmp_path: Path) -> None:
    """A run without shards finds nothing to do in a merged store; merging again finds nothing either."""
    out = tmp_path / "merged.zarr"
    assert _merge(out, *lamp_shards) == 0
    before = files_of(out / "shapes")
    assert _merge(out, *lamp_shards) == 0
    assert _preprocess(out, "--strict") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["present"] == 6 and report["made"] == []
    assert files_of(out / "shapes") == before


def test_failures_of_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: None) -> None:  # noqa: ARG001
    """A shape that failed in its shard is named by the merge, and does not make the shard incomplete."""
    for name in ("a", "b"):
        save(trimesh.creation.box((1, 2, 3)), tmp_path / "meshes" / "box" / f"{name}.obj")
    (tmp_path / "meshes" / "box" / "broken.obj").write_text("")
    words = ["--source", str(tmp_path / "meshes"), *SMALL_FLAGS]
    parts = [tmp_path / f"{index}.zarr" for index in (1, 2)]
    for index, part in enumerate(parts, 1):
        assert _preprocess(part, "--shard", f"{index}/2", words=words) == 0
    capsys.readouterr()
    out = tmp_path / "all.zarr"
    assert _merge(out, *parts, flags=("--json",)) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["failed"] == {"box/broken": "broken.obj: the file is empty"}
    assert "broken.obj: the file is empty" in printed.err
    assert SampleStore.open(out).keys() == ["box/a", "box/b"]
    assert _merge(out, *parts, flags=("--strict",)) == 1
    assert json.loads((out / "report.json").read_text())["failed"] == {"box/broken": "broken.obj: the file is empty"}


@pytest.mark.slow
def test_killed_shard(tmp_path: Path, whole: Path, in_process: None) -> None:  # noqa: ARG001
    """A shard that was killed is named with what it lacks; repeating its command completes it to the same bytes."""
    parts = [tmp_path / "1.zarr", tmp_path / "2.zarr"]
    assert _preprocess(parts[0], "--shard", "1/2") == 0
    words = [*LAMPS, "--workers", "1", "--shard", "2/2", "--out", str(parts[1])]
    process = subprocess.Popen([sys.executable, "-m", "preprocessing", *words], start_new_session=True)
    while process.poll() is None and not list(parts[1].glob("shapes/*/*/zarr.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(SampleStore.open(parts[1])) < 3
    with pytest.raises(StoreError, match=r"(?s)2.zarr: shard 2/2 lacks \d of its 3 shapes \(lamp/lamp_000.*repeat the"):
        shards.merge(parts, tmp_path / "all.zarr")
    assert not (tmp_path / "all.zarr").exists()
    assert command.main(words) == 0
    shards.merge(parts, tmp_path / "all.zarr")
    assert files_of(tmp_path / "all.zarr" / "shapes") == files_of(whole / "shapes")


@pytest.mark.slow
def test_killed_merge(lamp_shards: list[Path], whole: Path, tmp_path: Path) -> None:
    """A merge that is killed at any write leaves complete shapes only; repeating it gives the same bytes."""
    expected = files_of(whole / "shapes")
    with kill_at(None) as counter:
        shards.merge(lamp_shards, tmp_path / "counted.zarr", link=True)
    assert counter.count > 30
    for number in range(3, counter.count, 13):
        out = tmp_path / f"{number}.zarr"
        with kill_at(number):
            shards.merge(lamp_shards, out, link=True)
        found = files_of(out / "shapes")
        assert found.items() <= expected.items()
        for key in SampleStore.open(out) if (out / "zarr.json").is_file() else ():
            SampleStore.open(out).verify(key)
        shards.merge(lamp_shards, out)
        assert files_of(out / "shapes") == expected
        assert list((out / "tmp").iterdir()) == []


def _plan(path: Path, **changes: Any) -> None:
    """Change the plan in the store of a shard."""
    content = json.loads((path / shards.MARKER).read_text())
    (path / shards.MARKER).write_text(json.dumps(content | changes))


def _copy(path: Path, to: Path) -> Path:
    store = SampleStore.create(to, SampleStore.open(path).config)
    for key in SampleStore.open(path):
        store.copy_from(SampleStore.open(path), key)
    (to / shards.MARKER).write_bytes((path / shards.MARKER).read_bytes())
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: _plan(part, count=4), r"is shard 1/3, but .*part.zarr is shard 2/4"),
        (lambda part: _plan(part, index=1), r"1.zarr and .*part.zarr are both shard 1/3; name each shard once"),
        (lambda part: _plan(part, seed=5), r"were made with different seeds: 0 and 5"),
        (lambda part: _plan(part, selection="0" * 64), r"are shards of different selections of shapes \(6 and 6\)"),
        (lambda part: _plan(part, shapes=["lamp/lamp_0000"]), r"has lamp/lamp_0000~1, .*which shard 2/3 does not"),
        (lambda part: _plan(part, shapes=3), r"shard.json: damaged \(values of another type\)"),
        (lambda part: _plan(part, index=9), r"shard.json: damaged \(shards are numbered from 1"),
        (lambda part: _plan(part, format="x"), r"shard.json: damaged \(expected format latentsdf-shard"),
        (lambda part: _plan(part, more=1), r"shard.json: damaged "),
        (lambda part: (part / shards.MARKER).write_text("{"), r"shard.json: damaged "),
        (lambda part: (part / shards.MARKER).unlink(), r"part.zarr: is not a shard: it was made without --shard"),
    ],
)
def test_wrong_shards(change: Callable[[Path], object], message: str, lamp_shards: list[Path], tmp_path: Path) -> None:
    """Stores that are not the shards of one run are refused before anything is written."""
    part = _copy(lamp_shards[1], tmp_path / "part.zarr")
    change(part)
    with pytest.raises(StoreError, match=message):
        shards.merge([lamp_shards[0], part, lamp_shards[2]], tmp_path / "all.zarr")
    assert not (tmp_path / "all.zarr").exists()


def test_missing_shards(lamp_shards: list[Path], tmp_path: Path) -> None:
    """Missing shards are named; --partial merges the others, and the merge can be completed later."""
    one, two, _ = lamp_shards
    out = tmp_path / "all.zarr"
    with pytest.raises(StoreError, match="shard 3/3 is missing; name all shards, or pass --partial"):
        shards.merge([one, two], out)
    with pytest.raises(StoreError, match="shards 1/3, 3/3 are missing; name all shards"):
        shards.merge([two], out)
    with pytest.raises(FileNotFoundError, match="no such sample store"):
        shards.merge([one, two, tmp_path / "nowhere.zarr"], out)
    with pytest.raises(ConfigError, match="expected the stores of the shards, got none"):
        shards.merge([], out)
    assert not out.exists()
    assert len(shards.merge([one, two], out, partial=True).sampled) == 4
    assert len(shards.merge(lamp_shards, out).sampled) == 2


def test_wrong_output(lamp_shards: list[Path], tmp_path: Path) -> None:
    """The output is not a shard, and has no different shapes of the same keys."""
    with pytest.raises(StoreError, match="1.zarr: is one of the shards; name another --out"):
        shards.merge(lamp_shards, lamp_shards[0])
    part = _copy(lamp_shards[1], tmp_path / "part.zarr")
    with pytest.raises(StoreError, match="part.zarr: is shard 2/3 of a run; pass --shard 2/3 to continue it"):
        shards.merge(lamp_shards, part)
    shards.merge(lamp_shards, tmp_path / "all.zarr")
    flip_byte(tmp_path / "all.zarr" / "shapes/lamp/lamp_0001/zarr.json", 5)
    with pytest.raises(StoreError, match="all.zarr: has a different shape 'lamp/lamp_0001' than "):
        shards.merge(lamp_shards, tmp_path / "all.zarr")


@pytest.mark.usefixtures("in_process")
def test_store_of_another_shard(lamp_shards: list[Path], whole: Path, tmp_path: Path) -> None:
    """A run does not write into the store of another shard, selection, seed or kind of run."""
    part = _copy(lamp_shards[1], tmp_path / "part.zarr")
    chosen = procedural(["lamp"], count=3)
    config = SampleStore.open(part).config

    def open_shard(out: Path, shard: Shard | None, sources: list[Source] = chosen, seed: int = 0) -> None:
        plan = None if shard is None else shards.ShardPlan.of(shard, sources, seed)
        shards.open_shard(out, config, plan)

    with pytest.raises(StoreError, match="part.zarr: is shard 2/3, expected shard 1/3; each shard needs a store of"):
        open_shard(part, Shard(1, 3))
    with pytest.raises(StoreError, match=r"another selection of shapes \(6 then, 3 now\)"):
        open_shard(part, Shard(2, 3))
    with pytest.raises(StoreError, match="shard 2/3 was started with --seed 0, not 4"):
        open_shard(part, Shard(2, 3), seed=4)
    with pytest.raises(StoreError, match="part.zarr: is shard 2/3 of a run; pass --shard 2/3 to continue it"):
        open_shard(part, None)
    with pytest.raises(StoreError, match="whole.zarr: holds shapes of a run without --shard"):
        open_shard(whole, Shard(2, 3))
    stamp = (part / "shapes/lamp/lamp_0000~1/zarr.json").stat().st_mtime_ns
    assert _preprocess(part, "--shard", "2/3") == 0
    assert (part / "shapes/lamp/lamp_0000~1/zarr.json").stat().st_mtime_ns == stamp
