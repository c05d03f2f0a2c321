"""Indices against brute force, their files, and invalid input."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.files import files_of
from safetensors.torch import save_file

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
    index.save(tmp_path)
    loaded = CodeIndex.load(tmp_path, space="here")
    for query in QUERIES[:5]:
        assert loaded.nearest(query, 5) == index.nearest(query, 5)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_change_of_kind(metric: Metric) -> None:
    """An index of another kind has the same codes; pq indices cannot be converted."""
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
    with pytest.raises(ls.ConfigError, match="this pq index does not store uncompressed codes"):
        index.rebuilt("flat")


def test_ivf_index_of_version_0_1(tmp_path: Path) -> None:
    """An ivf index without shortlist, as saved by version 0.1, takes additions and removals."""
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


def test_unusable_index_files(tmp_path: Path) -> None:
    """Missing, damaged and inconsistent files and those of another space raise errors."""
    index = CodeIndex(CODES[:50], IDS[:50], space="here")
    index.save(tmp_path)
    kept = (tmp_path / "index.faiss").read_bytes()
    with pytest.raises(ls.CheckpointError, match="expected an index of this space"):
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


def test_index_in_read_only_folder(space_path: Path, tmp_path: Path) -> None:
    """A space whose folder cannot store the index is searched without saving it."""
    shutil.copytree(space_path, tmp_path / "copy", ignore=shutil.ignore_patterns("index*"))
    (tmp_path / "copy" / "index.faiss").mkdir()
    assert ls.load(tmp_path / "copy", "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert not list((tmp_path / "copy").glob("*.json.next"))


def test_outdated_index_files(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The index of other codes is renamed and built again, and a note names the files."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    space = ls.load(folder, "cpu")
    for turn in ("", "2"):
        index = space.index()
        index.add(np.full((1, 8), 3, dtype=np.float32), ["mine"])
        index.save(folder)
        added = files_of(folder)
        newer = (folder / "codes.safetensors").stat().st_mtime + 100
        codes = space.codes.flip(0).contiguous()
        save_file({"codes": codes}, folder / "codes.safetensors")
        os.utime(folder / "index.faiss", (newer, newer))  # by its modification time the index would be valid
        space = ls.load(folder, "cpu")
        capsys.readouterr()
        assert space.nearest(codes[1].numpy(), 5).ids[0] == space.ids[1] and "mine" not in space.index().ids
        said = capsys.readouterr().err
        assert "got one of" in said and f"kept as index.faiss.old{turn} and index.json.old{turn}" in said
        for name in ("index.faiss", "index.json"):
            assert (folder / f"{name}.old{turn}").read_bytes() == added[name]
    capsys.readouterr()
    ls.load(folder, "cpu").nearest("table_0000")
    assert capsys.readouterr().err == ""
    assert len(list(folder.glob("index*"))) == 6


def test_damaged_index_files(space_path: Path, tmp_path: Path) -> None:
    """The remaining file of a damaged index is renamed."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    (folder / "index.json").write_text("not JSON")  # the codes cannot be recovered
    assert ls.load(folder, "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert (folder / "index.json.old").read_text() == "not JSON" and not (folder / "index.faiss.old").exists()
