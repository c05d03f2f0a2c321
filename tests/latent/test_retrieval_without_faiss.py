"""Retrieval on a machine without FAISS: same results, and files that both kinds of machine read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
