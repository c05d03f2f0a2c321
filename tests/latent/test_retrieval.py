"""Indices against brute force, their files, and invalid input."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

import latentsdf as ls
from latentsdf.latent.retrieval import CodeIndex, Hits, Kind, Metric, rerank

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(12_000, 8)).astype(np.float32) * np.linspace(2, 0.3, 8, dtype=np.float32)
IDS = [f"s{i}" for i in range(len(CODES))]
QUERIES = RNG.normal(size=(50, 8)).astype(np.float32) * np.linspace(2, 0.3, 8, dtype=np.float32)


def _brute(query: np.ndarray, metric: Metric) -> np.ndarray:
    if metric == "l2":
        return np.linalg.norm(CODES - query, axis=1)
    return 1 - (CODES @ query) / np.linalg.norm(CODES, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_flat_index(metric: Metric) -> None:
    """A flat index returns the neighbors and distances of a brute-force search."""
    index = CodeIndex(CODES, IDS, metric)
    assert index.kind == "flat"
    for query in QUERIES:
        truth = _brute(query, metric)
        hits = index.nearest(query, 10)
        assert hits.ids == [IDS[i] for i in np.argsort(truth)[:10]]
        np.testing.assert_allclose(hits.distances, np.sort(truth)[:10], atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("ivf", 0.95), ("hnsw", 0.95), ("pq", 0.5)])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_recall_of_approximate_indices(kind: Kind, least: float, metric: Metric) -> None:
    """Approximate indices reach their recall@10."""
    index = CodeIndex(CODES, IDS, metric, kind)
    found, _ = index.search(QUERIES, 10)
    truth = [np.argsort(_brute(query, metric))[:10] for query in QUERIES]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])
    assert recall >= least


def test_single_neighbor() -> None:
    """A search for one neighbor returns the first of ten, with its exact distance."""
    index = CodeIndex(CODES, IDS, kind="ivf")
    queries = np.random.default_rng(1).normal(size=(2000, 8)).astype(np.float32)
    one, (ten, _) = index.search(queries, 1), index.search(queries, 10)
    np.testing.assert_array_equal(one[0], ten[:, :1])
    np.testing.assert_allclose(one[1][:, 0], np.linalg.norm(CODES[one[0][:, 0]] - queries, axis=1), atol=1e-4)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_added_and_removed_codes(kind: Kind, tmp_path: Path) -> None:
    """Added codes are found, removed ones are not, also after saving and loading."""
    index = CodeIndex(CODES[:5000], IDS[:5000], kind=kind, space="here")
    index.add(CODES[5000:6000], IDS[5000:6000])
    assert index.nearest(CODES[5500], 1).ids == ["s5500"]
    if kind == "hnsw":
        with pytest.raises(ls.ConfigError, match="codes cannot be removed from an hnsw index"):
            index.remove(["s5500"])
    else:
        index.remove(["s5500", "s3"])
        assert "s5500" not in index.nearest(CODES[5500], 20).ids and len(index.ids) == 5998
        index.add(CODES[3:4], ["again"])
        assert index.nearest(CODES[3], 1).ids == ["again"]
        assert index.nearest(CODES[5501], 1).ids == ["s5501"]
    if kind != "flat":
        names = index.save(tmp_path / "cache.faiss")
        by_number = dict(zip(names["numbers"], names["ids"], strict=True))
        loaded = CodeIndex.load(tmp_path / "cache.faiss", by_number, 8, "l2", kind, "here")
        for query in QUERIES[:5]:
            assert loaded.nearest(query, 5) == index.nearest(query, 5)
        with pytest.raises(ls.CheckpointError, match="instead of 1 of 8"):
            CodeIndex.load(tmp_path / "cache.faiss", {0: "a"}, 8, "l2", kind, "here")
        (tmp_path / "cache.faiss").write_bytes((tmp_path / "cache.faiss").read_bytes()[:40])
        with pytest.raises(ls.CheckpointError, match="damaged index"):
            CodeIndex.load(tmp_path / "cache.faiss", by_number, 8, "l2", kind, "here")


def test_empty_index() -> None:
    """An index whose codes were all removed, one of them twice, finds nothing, and takes codes again."""
    index = CodeIndex(CODES[:3], IDS[:3])
    index.remove(["s0", "s1", "s0", "s2"])
    assert index.nearest(CODES[0], 5) == Hits([], []) and index.ids == []
    index.add(CODES[:1], ["again"])
    assert index.nearest(CODES[0], 5).ids == ["again"]


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_codes_and_ids() -> None:
    """Invalid codes, ids, kinds and queries raise ConfigError and change nothing."""
    index = CodeIndex(CODES[:50], IDS[:50])
    broken = CODES[:2].copy()
    broken[1, 0] = np.nan
    for call, message in (
        (lambda: index.nearest(broken[1]), "not finite"),
        (lambda: index.nearest(CODES[0], 0), "k must be at least 1"),
        (lambda: index.add(broken, ["a", "b"]), "the code of 'b' has values that are not finite"),
        (lambda: index.add(CODES[:1], ["s7"]), "ids must be distinct"),
        (lambda: index.add(CODES[:1, :5], ["a"]), "length 8, got 5"),
        (lambda: index.remove(["a"]), "no shape 'a'"),
        (lambda: CodeIndex(CODES[:3], ["a", "b"]), "and T ids"),
        (lambda: CodeIndex(CODES[:3], IDS[:3], kind="tree"), "kind one of auto, flat"),  # type: ignore[arg-type]
        (
            lambda: CodeIndex(CODES[:300], IDS[:300], kind="pq"),
            "'pq' needs at least 10,000 codes of even",
        ),
        (lambda: CodeIndex(CODES[:300], IDS[:300], kind="ivf"), "'ivf' needs at least 1,000 codes, got 300"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            call()
    assert index.ids == IDS[:50]


def test_reranking() -> None:
    """Candidates are ordered by the Chamfer distance of their surfaces."""
    sizes = {"small": 0.5, "right": 0.8, "large": 0.9}
    hits = rerank(
        trimesh.creation.icosphere(4, 0.81), list(sizes), lambda n: trimesh.creation.icosphere(4, sizes[n]), 2
    )
    assert isinstance(hits, Hits) and hits.ids == ["right", "large"]
    assert hits.distances[1] == pytest.approx(0.09, abs=0.01)
