"""Indices against brute force, what they keep on disk, and what they refuse."""

import json
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
def test_a_flat_index_is_brute_force(metric: Metric) -> None:
    index = CodeIndex(CODES, IDS, metric)
    assert index.kind == "flat"
    for query in QUERIES:
        truth = _brute(query, metric)
        hits = index.nearest(query, 10)
        assert hits.ids == [IDS[i] for i in np.argsort(truth)[:10]]
        np.testing.assert_allclose(hits.distances, np.sort(truth)[:10], atol=2e-3)


@pytest.mark.parametrize(("kind", "least"), [("ivf", 0.95), ("hnsw", 0.95), ("pq", 0.5)])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_approximate_indices_find_the_neighbours(kind: Kind, least: float, metric: Metric) -> None:
    index = CodeIndex(CODES, IDS, metric, kind)
    found, _ = index.search(QUERIES, 10)
    truth = [np.argsort(_brute(query, metric))[:10] for query in QUERIES]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])
    assert recall >= least


def test_asking_for_one_code_finds_the_first_of_ten() -> None:
    index = CodeIndex(CODES, IDS, kind="ivf")
    queries = np.random.default_rng(1).normal(size=(2000, 8)).astype(np.float32)
    one, (ten, _) = index.search(queries, 1), index.search(queries, 10)
    np.testing.assert_array_equal(one[0], ten[:, :1])
    np.testing.assert_allclose(one[1][:, 0], np.linalg.norm(CODES[one[0][:, 0]] - queries, axis=1), atol=1e-4)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_codes_come_and_go_and_survive_the_disk(kind: Kind, tmp_path: Path) -> None:
    index = CodeIndex(CODES[:5000], IDS[:5000], kind=kind, space="here")
    index.add(CODES[5000:6000], IDS[5000:6000])
    assert index.nearest(CODES[5500], 1).ids == ["s5500"]
    if kind == "hnsw":
        with pytest.raises(ls.ConfigError, match="hnsw index cannot forget"):
            index.remove(["s5500"])
    else:
        index.remove(["s5500", "s3"])
        assert "s5500" not in index.nearest(CODES[5500], 20).ids and len(index.ids) == 5998
        index.add(CODES[3:4], ["again"])
        assert index.nearest(CODES[3], 1).ids == ["again"]
        assert index.nearest(CODES[5501], 1).ids == ["s5501"]
    index.save(tmp_path)
    loaded = CodeIndex.load(tmp_path, space="here")
    for query in QUERIES[:5]:
        assert loaded.nearest(query, 5) == index.nearest(query, 5)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_codes_move_to_an_index_of_another_kind(metric: Metric) -> None:
    index = CodeIndex(CODES[:2000], IDS[:2000], metric, "flat", "here")
    index.remove(["s3", "s1000"])
    index.add(CODES[2000:2001], ["late"])
    exact = [index.nearest(query, 10) for query in QUERIES]
    for kind in ("hnsw", "ivf", "auto"):
        index = index.rebuilt(kind)  # type: ignore[arg-type]
        assert index.kind == ("flat" if kind == "auto" else kind) and (index.metric, index.space) == (metric, "here")
        assert index.ids == [name for name in IDS[:2000] if name not in ("s3", "s1000")] + ["late"]
        found = [index.nearest(query, 10) for query in QUERIES]
        assert np.mean([len(set(a.ids) & set(b.ids)) / 10 for a, b in zip(exact, found, strict=True)]) > 0.9
    assert [hits.ids for hits in found] == [hits.ids for hits in exact]
    with pytest.raises(ls.ConfigError, match="'pq' needs at least 10,000 codes"):
        index.rebuilt("pq")
    index.kind = "pq"
    with pytest.raises(ls.ConfigError, match="this pq index keeps no whole codes"):
        index.rebuilt("flat")


def test_an_ivf_index_of_an_older_version_learns_and_forgets(tmp_path: Path) -> None:
    import faiss

    older = faiss.index_factory(8, "IVF4,Flat")
    older.train(CODES[:1000])
    older.add_with_ids(CODES[:1000], np.arange(1000))
    older.nprobe = 4
    faiss.write_index(older, str(tmp_path / "index.faiss"))
    listing = {"metric": "l2", "kind": "ivf", "space": "", "numbers": list(range(1000)), "ids": IDS[:1000]}
    (tmp_path / "index.json").write_text(json.dumps(listing))
    index = CodeIndex.load(tmp_path)
    index.remove(["s7"])
    index.add(CODES[1000:1001], ["s1000"])
    exact = np.argsort(np.linalg.norm(CODES[:1001] - CODES[7], axis=1))
    assert index.nearest(CODES[7], 3).ids == [IDS[i] for i in exact[1:4]]
    assert index.nearest(CODES[1000], 1).ids == ["s1000"]


def test_indices_that_do_not_fit_are_refused_and_kept(tmp_path: Path) -> None:
    index = CodeIndex(CODES[:50], IDS[:50], space="here")
    index.save(tmp_path)
    kept = (tmp_path / "index.faiss").read_bytes()
    with pytest.raises(ls.CheckpointError, match="index is of another space"):
        CodeIndex.load(tmp_path, space="there")
    with pytest.raises(FileNotFoundError, match=r"index_cosine\.faiss: no such index"):
        CodeIndex.load(tmp_path, "cosine")
    assert (tmp_path / "index.faiss").read_bytes() == kept
    listing = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**listing, "numbers": [0], "ids": ["a"]}))
    with pytest.raises(ls.CheckpointError, match="holds 50 codes but index.json names 1"):
        CodeIndex.load(tmp_path)
    (tmp_path / "index.faiss").write_bytes(kept[:40])
    with pytest.raises(ls.CheckpointError, match="damaged index"):
        CodeIndex.load(tmp_path)


def test_bad_codes_and_ids_are_refused() -> None:
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
        (lambda: CodeIndex(CODES[:3], ["a", "b"]), "as many ids"),
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


def test_reranking_goes_by_surface() -> None:
    sizes = {"small": 0.5, "right": 0.8, "large": 0.9}
    hits = rerank(
        trimesh.creation.icosphere(4, 0.81), list(sizes), lambda n: trimesh.creation.icosphere(4, sizes[n]), 2
    )
    assert isinstance(hits, Hits) and hits.ids == ["right", "large"]
    assert hits.distances[1] == pytest.approx(0.09, abs=0.01)
