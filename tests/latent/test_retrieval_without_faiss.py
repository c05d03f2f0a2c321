"""Retrieval on a machine without FAISS: same results, and files that both kinds of machine read."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.latent.flat_index import FlatIndex
from latentsdf.latent.retrieval import CodeIndex, Metric

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(3000, 8)).astype(np.float32)
IDS = [f"s{i}" for i in range(len(CODES))]
QUERIES = RNG.normal(size=(40, 8)).astype(np.float32)


@contextmanager
def _without_faiss() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "faiss", None)
        yield


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_same_results(metric: Metric) -> None:
    """Neighbors and distances equal those of FAISS, also after additions and removals."""
    pytest.importorskip("faiss")
    ours: list[CodeIndex] = []
    for use in (True, False):
        context = _without_faiss() if not use else pytest.MonkeyPatch.context()
        with context:
            index = CodeIndex(CODES[:2000], IDS[:2000], metric)
            index.add(CODES[2000:], IDS[2000:])
            index.remove(["s7", "s2500"])
            ours.append(index)
    theirs, mine = ours
    assert isinstance(mine._index, FlatIndex) and not isinstance(theirs._index, FlatIndex)
    for k in (1, 10, 5000):
        numbers, distances = theirs.search(QUERIES, k)
        found, values = mine.search(QUERIES, k)
        np.testing.assert_allclose(values, distances, atol=1e-3 if metric == "l2" else 1e-5)
        # Of all codes, a few have the same distance up to rounding.
        assert (found == numbers).all() if k <= 10 else (found != numbers).mean() < 1e-3
    assert mine.ids == theirs.ids


def test_search_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the chunks does not change the result."""
    index = FlatIndex(8, inner_product=False)
    index.add_with_ids(CODES, np.arange(3000))
    values, numbers = index.search(QUERIES, 5)
    monkeypatch.setattr("latentsdf.latent.flat_index._CHUNK_VALUES", 1)
    again, same = index.search(QUERIES, 5)
    np.testing.assert_array_equal(numbers, same)
    np.testing.assert_allclose(values, again, rtol=1e-6)
    np.testing.assert_array_equal(index.search(CODES[:3], 1)[1][:, 0], [0, 1, 2])


def test_kinds_that_need_faiss() -> None:
    """Approximate kinds say that they need FAISS and that flat does not; auto is flat."""
    with _without_faiss():
        for kind in ("ivf", "hnsw"):
            with pytest.raises(ls.MissingExtraError, match=r"needs FAISS: pip install .*; kind flat, which is exact"):
                CodeIndex(CODES, IDS, kind=kind)  # type: ignore[arg-type]
        assert CodeIndex(CODES, IDS, kind="auto").kind == "flat"
        with pytest.raises(ls.MissingExtraError):
            CodeIndex(CODES, IDS).rebuilt("ivf")


def test_files_of_both_machines(space_path: Path, tmp_path: Path) -> None:
    """A change without FAISS is saved, read with FAISS, saved by it, and read again without it."""
    pytest.importorskip("faiss")
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    with _without_faiss():
        space = ls.load(folder, "cpu")
        expected = space.nearest("table_0002", 4)
        assert not list(folder.glob("index*"))
        space.update_index(add={"mine": space.mean()}, remove=["table_0001"])
        assert [file.name for file in folder.glob("index*")] == ["index.npz"]
        assert ls.load(folder, "cpu").nearest(space.mean(), 1).ids == ["mine"]
    space = ls.load(folder, "cpu")
    assert space.nearest(space.mean(), 1).ids == ["mine"] and "table_0001" not in space.index().ids
    space.update_index(add={"table_0001": "table_0001"}, remove=["mine"])
    assert sorted(file.name for file in folder.glob("index*")) == ["index.faiss", "index.json"]
    written = (folder / "index.faiss").read_bytes()
    with _without_faiss():
        again = ls.load(folder, "cpu").nearest("table_0002", 4)
    assert again.ids == expected.ids and (folder / "index.faiss").read_bytes() == written


def test_added_codes_that_cannot_be_read(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without FAISS, codes that were added to its index are named, and are not lost by a further change."""
    pytest.importorskip("faiss")
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    ls.load(folder, "cpu").update_index(add={"mine": np.ones(8)})
    before = {file.name: file.read_bytes() for file in folder.glob("index*")}
    capsys.readouterr()
    with _without_faiss():
        space = ls.load(folder, "cpu")
        assert "mine" not in space.nearest(np.ones(8), 5).ids
        assert "not searched mine: codes added" in " ".join(capsys.readouterr().err.split())
        with pytest.raises(ls.MissingExtraError, match=r"index.faiss holds codes that were added to it \(mine\)"):
            space.update_index(add={"other": np.zeros(8)})
    assert {file.name: file.read_bytes() for file in folder.glob("index*")} == before


def test_damaged_file(space_path: Path, tmp_path: Path) -> None:
    """A damaged or outdated index.npz is kept under another name, and the codes of the space are searched."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    (folder / "index.npz").write_bytes(b"PK not an archive")
    assert ls.load(folder, "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert (folder / "index.npz.old").is_file()
    about = {"metric": "l2", "kind": "flat", "space": "another", "numbers": [0], "ids": ["a"]}
    with (folder / "index.npz").open("wb") as file:
        np.savez(file, codes=np.ones((1, 8), np.float32), about=np.array(json.dumps(about)))
    with _without_faiss():
        assert ls.load(folder, "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert (folder / "index.npz.old2").is_file()
