"""The saved index of a space: changes, cache, damage, repetition, and files of earlier versions. No trained space."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.files import files_of, flip_byte, renew_manifest
from helpers.old_index import write_old_index

import latentsdf as ls
from latentsdf.latent import saved_index
from latentsdf.latent.retrieval import CodeIndex, Metric
from latentsdf.latent.saved_index import SavedIndex

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(40, 4)).astype(np.float32)
IDS = [f"s{i}" for i in range(len(CODES))]
NEW = {"mine": np.full(4, 3, np.float32), "yours": np.full(4, -3, np.float32)}


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder of the user, in which caches that the user wrote are recorded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a space."""
    (tmp_path / "space").mkdir()
    return tmp_path / "space"


def opened(folder: Path, metric: Metric = "l2", space: str = "here", *, verify: bool = True) -> SavedIndex:
    """Open the index of a space of `CODES`."""
    return SavedIndex(folder, CODES, IDS, metric, space, verify=verify)


@contextmanager
def _without_faiss() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "faiss", None)
        yield


def _results(saved: SavedIndex) -> list[list[str]]:
    return [saved.index.nearest(code, 5).ids for code in (*CODES[:5], *NEW.values())]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_exact_index(metric: Metric, folder: Path) -> None:
    """An exact index of the training codes needs no files, and changes that are taken back leave none."""
    saved = opened(folder, metric)
    assert saved.index.kind == "flat" and list(folder.iterdir()) == []
    saved.update(NEW, ["s3"])
    assert {file.name for file in (folder / f"index_{metric}").iterdir()} == {
        "changes.json", "added.npy", "manifest.json",
    }  # fmt: skip
    again = opened(folder, metric)
    assert _results(again) == _results(saved)
    assert again.index.ids == [name for name in IDS if name != "s3"] + ["mine", "yours"]
    assert again.index.nearest(NEW["mine"], 1).ids == ["mine"]


def test_repeated_changes(folder: Path) -> None:
    """Adding the same code and removing the same id again change nothing; another code is refused."""
    for _ in range(3):
        opened(folder).update(NEW, ["s3"])
        opened(folder).update({}, ["yours"])
        assert set(opened(folder).index.ids) == {*IDS, "mine"} - {"s3"}
    opened(folder).update({"s5": CODES[5]}, [])  # a training code under its own id
    before = files_of(folder)
    for add, remove, message in (
        ({"mine": NEW["yours"]}, [], "'mine' is in the index with another code"),
        ({"s5": CODES[6]}, [], "'s5' is in the index with another code"),
        ({}, ["none"], "no shape 'none'"),
        ({"../mine": NEW["mine"]}, [], "is not a valid id to add"),
        ({"a\nb": NEW["mine"]}, [], "is not a valid id to add"),
        ({"": NEW["mine"]}, [], "is not a valid id to add"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            opened(folder).update(add, remove)
    assert files_of(folder) == before
    for _ in range(2):  # replaces codes in one call
        opened(folder).update({"mine": NEW["yours"], "s3": CODES[3] + 1}, ["mine", "mine", "s3"])
        index = opened(folder).index
        assert index.nearest(NEW["yours"], 1).ids == ["mine"] and index.nearest(CODES[3] + 1, 1).ids == ["s3"]


def test_changes_by_others(folder: Path) -> None:
    """An index that was opened before another process changed the files keeps the changes of both."""
    first, second = opened(folder), opened(folder)
    first.update({"mine": NEW["mine"]}, [])
    second.update({"yours": NEW["yours"]}, ["s3"])
    assert set(second.index.ids) == set(opened(folder).index.ids) == {*IDS, *NEW} - {"s3"}
    first.update({}, ["mine"])
    assert set(first.index.ids) == set(opened(folder).index.ids) == {*IDS, "yours"} - {"s3"}


def test_removal_of_all_codes(folder: Path) -> None:
    """An empty index is searched, saved and opened."""
    opened(folder).update({}, IDS)
    saved = opened(folder)
    assert saved.index.ids == [] and saved.index.nearest(CODES[0], 3).ids == []
    saved.update(NEW, [])
    assert opened(folder).index.nearest(NEW["mine"], 1).ids == ["mine"]


def test_change_of_kind(folder: Path) -> None:
    """The kind is saved, with a cache that is read again, and can be changed back."""
    pytest.importorskip("faiss")
    saved = opened(folder)
    saved.update(NEW, ["s3"])
    exact = _results(saved)
    saved.change_kind("hnsw")
    assert (folder / "index_l2" / "cache.faiss").is_file()
    for again in (saved, opened(folder)):
        assert again.index.kind == "hnsw" and _results(again) == exact
    with pytest.raises(ls.ConfigError, match="'ivf' needs at least 1,000 codes"):
        saved.change_kind("ivf")
    with pytest.raises(ls.ConfigError, match="cannot be removed from an hnsw index"):
        opened(folder).update({}, ["mine"])
    opened(folder).change_kind("auto")
    assert opened(folder).index.kind == "flat" and not (folder / "index_l2" / "cache.faiss").exists()


def test_change_of_kind_after_changes_by_others(folder: Path) -> None:
    """A change of the kind keeps what another process has added since the index was opened."""
    pytest.importorskip("faiss")
    first, second = opened(folder), opened(folder)
    first.update(NEW, ["s3"])
    second.change_kind("hnsw")
    assert set(second.index.ids) == set(opened(folder).index.ids) == {*IDS, *NEW} - {"s3"}


def test_cache_is_rebuilt(
    folder: Path, own_caches: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged, missing, inconsistent or foreign cache is not read by FAISS, but built again."""
    pytest.importorskip("faiss")
    saved = opened(folder)
    saved.update(NEW, ["s3"])
    saved.change_kind("hnsw")
    expected, place = _results(saved), folder / "index_l2"
    read: list[Path] = []
    load = CodeIndex.load
    monkeypatch.setattr(CodeIndex, "load", lambda path, *rest: read.append(path) or load(path, *rest))

    def wrong_names() -> None:
        listing = json.loads((place / "cache.json").read_text())
        listing["ids"][0] = "s3"
        (place / "cache.json").write_text(json.dumps(listing))
        renew_manifest(place)

    def of_somebody_else() -> None:
        for record in (own_caches / "latentsdf" / "indices").iterdir():
            record.unlink()

    for damage, note in (
        (lambda: flip_byte(place / "cache.faiss", 60), "cache.faiss: damaged"),
        (lambda: (place / "cache.faiss").write_bytes(b""), "cache.faiss: damaged"),
        (lambda: (place / "cache.faiss").unlink(), ""),
        (wrong_names, "other ids"),
        (of_somebody_else, "cache.faiss was not written by this user"),
    ):
        damage()
        read.clear()
        capsys.readouterr()
        assert _results(opened(folder)) == expected and not read
        assert note in " ".join(capsys.readouterr().err.split())
        assert _results(opened(folder)) == expected and len(read) == 1  # the one that was saved


def test_damaged_changes(folder: Path) -> None:
    """Added codes and ids are data: their damage is named, with the remedy, and nothing is overwritten."""
    opened(folder).update(NEW, ["s3"])
    place = folder / "index_l2"
    whole = files_of(place)

    def refused(message: str) -> None:
        before = files_of(folder)
        with pytest.raises(ls.CheckpointError, match=message):
            opened(folder)
        assert files_of(folder) == before
        for name, content in whole.items():
            (place / name).write_bytes(content)

    for name in ("changes.json", "added.npy"):
        flip_byte(place / name, len(whole[name]) - 3)
        refused(rf"{name}: damaged, .* or delete the folder and add the fits again")
        (place / name).unlink()
        refused(f"{name} is missing")
    listing = json.loads(whole["changes.json"])
    for wrong, message in (
        ({"added": ["../x", "yours"]}, "a list of ids"),
        ({"added": ["a", "a"]}, "distinct ids"),
        ({"added": ["a"]}, r"1 codes of length 4, got \(2, 4\)"),
        ({"removed": [3]}, "a list of ids"),
        ({"removed": {}}, "a list of ids"),
        ({"kind": "tree"}, "kind 'tree'"),
        ({"format": 9}, "another format"),
    ):
        (place / "changes.json").write_text(json.dumps(listing | wrong))
        renew_manifest(place)
        refused(message)
    for text in ("[1]", "not JSON", "[" * 100_000):
        (place / "changes.json").write_text(text)
        renew_manifest(place)
        refused("damaged, expected")
    np.save(place / "added.npy", np.full((2, 4), np.nan, np.float32))
    renew_manifest(place)
    refused("finite codes")


def test_other_codes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes of a space before further training are kept under another name, and the index starts afresh."""
    for turn in ("", "2"):
        opened(folder).update(NEW, [])
        kept = files_of(folder / "index_l2")
        capsys.readouterr()
        assert opened(folder, space="trained further").index.ids == IDS
        assert f"kept as index_l2.old{turn}" in " ".join(capsys.readouterr().err.split())
        assert files_of(folder / f"index_l2.old{turn}") == kept and not (folder / "index_l2").exists()


@pytest.mark.parametrize("has_changes", [True, False])
def test_other_codes_in_two_processes(has_changes: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that one process adds while another one moves an outdated index aside stay."""
    opened(folder).update(NEW, [])
    if not has_changes:
        pytest.importorskip("faiss")
        opened(folder).update({}, list(NEW))
        opened(folder).change_kind("hnsw")
    turns, found = iter([True]), saved_index.locked

    def beaten(place: Path) -> AbstractContextManager[None]:
        if next(turns, False):
            opened(folder, space="trained further").update(NEW, [])  # by the other process
        return found(place)

    monkeypatch.setattr(saved_index, "locked", beaten)
    assert _results(opened(folder, space="trained further"))[-1][0] == "yours"
    assert opened(folder, space="trained further").index.ids == [*IDS, *NEW]


def test_folder_that_cannot_be_written(folder: Path) -> None:
    """An index that cannot be saved is searched; a change is refused, and a link is not followed."""
    pytest.importorskip("faiss")
    (folder / "index_l2").write_text("a file")
    saved = opened(folder)
    saved.change_kind("hnsw")
    assert saved.index.kind == "hnsw"
    with pytest.raises(OSError, match="index_l2"):
        saved.update(NEW, [])
    (folder / "index_l2").unlink()
    (folder / "elsewhere").mkdir()
    (folder / "index_l2").symlink_to(folder / "elsewhere")
    with pytest.raises(ls.CheckpointError, match="index_l2: is a symbolic link"):
        opened(folder).update(NEW, [])
    assert list((folder / "elsewhere").iterdir()) == []


def test_machine_without_faiss(folder: Path) -> None:
    """Without FAISS the same index is exact; changes made there keep the kind for machines that have FAISS."""
    pytest.importorskip("faiss")
    saved = opened(folder)
    saved.change_kind("hnsw")
    before = files_of(folder)
    with _without_faiss():
        plain = opened(folder)
        assert plain.index.kind == "flat" and files_of(folder) == before
        plain.update(NEW, [])
        assert opened(folder).index.nearest(NEW["mine"], 1).ids == ["mine"]
        with pytest.raises(ls.MissingExtraError):
            plain.change_kind("hnsw")
    again = opened(folder)
    assert again.index.kind == "hnsw" and again.index.nearest(NEW["mine"], 1).ids == ["mine"]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("with_faiss", [True, False])
def test_exact_index_of_earlier_version(metric: Metric, with_faiss: bool, folder: Path) -> None:
    """Codes added and ids removed by an earlier version are kept, without FAISS reading its file."""
    pytest.importorskip("faiss")
    names, codes = [*IDS[1:], "mine"], np.concatenate((CODES[1:], NEW["mine"][None]))
    write_old_index(folder, names, codes, metric, "flat", with_faiss=with_faiss)
    with _without_faiss():
        assert opened(folder, metric).index.nearest(NEW["mine"], 1).ids == ["mine"]
    saved = opened(folder, metric)
    assert saved.index.ids == [*IDS[1:], "mine"] and (folder / f"index_{metric}").is_dir()
    assert opened(folder, metric, "another").index.ids == IDS


def test_record_of_own_caches(folder: Path, own_caches: Path) -> None:
    """The record is named by the hash of the cache."""
    pytest.importorskip("faiss")
    opened(folder).change_kind("hnsw")
    digest = hashlib.sha256((folder / "index_l2" / "cache.faiss").read_bytes()).hexdigest()
    assert [file.name for file in (own_caches / "latentsdf" / "indices").iterdir()] == [digest]
