"""Changes in retrieval indices of earlier versions: exact, approximate, of another space, and damaged ones."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.files import files_of
from helpers.old_index import write_old_index

from latentsdf.latent.old_index import read_changes
from latentsdf.latent.retrieval import Metric

IDS = [f"s{i}" for i in range(40)]
NAMES = [*IDS[1:], "mine"]
CODES = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
"""Codes of `NAMES`: s0 was removed, and mine, the last one, was added."""


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("with_faiss", [True, False])
def test_exact_index(metric: Metric, with_faiss: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added codes and removed ids are read without FAISS; an index of another space, or a missing one, has none."""
    if with_faiss:
        pytest.importorskip("faiss")
    write_old_index(tmp_path, NAMES, CODES, metric, "flat", with_faiss=with_faiss)
    monkeypatch.setitem(sys.modules, "faiss", None)
    before = files_of(tmp_path)
    changes = read_changes(tmp_path, metric, "here", IDS, 4)
    assert list(changes.added) == ["mine"] and changes.removed == ("s0",) and changes.kind == "flat"
    saved = CODES[-1] / np.linalg.norm(CODES[-1]) if metric == "cosine" and with_faiss else CODES[-1]
    np.testing.assert_allclose(changes.added["mine"], saved, rtol=1e-6)
    for other in (
        read_changes(tmp_path, metric, "there", IDS, 4),
        read_changes(tmp_path / "no", metric, "here", IDS, 4),
    ):
        assert (dict(other.added), other.removed, other.kind) == ({}, (), "auto")
    assert files_of(tmp_path) == before


def test_numbers_of_added_codes(tmp_path: Path) -> None:
    """FAISS stores codes by numbers, whose order in the listing is that of the ids."""
    pytest.importorskip("faiss")
    write_old_index(tmp_path, NAMES, CODES, "l2", "flat", with_faiss=True)
    listing = json.loads((tmp_path / "index.json").read_text())
    listing["numbers"][-1], listing["numbers"][5] = listing["numbers"][5], listing["numbers"][-1]
    (tmp_path / "index.json").write_text(json.dumps(listing))
    np.testing.assert_array_equal(read_changes(tmp_path, "l2", "here", IDS, 4).added["mine"], CODES[5])


def test_approximate_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes added to an approximate index are named; its files are not read, nor changed."""
    pytest.importorskip("faiss")
    write_old_index(tmp_path, NAMES, CODES, "l2", "hnsw", with_faiss=True)
    before = files_of(tmp_path)
    changes = read_changes(tmp_path, "l2", "here", IDS, 4)
    assert not changes.added and changes.removed == ("s0",) and changes.kind == "hnsw"
    said = " ".join(capsys.readouterr().err.split())
    assert "not searched mine: added to" in said and "add them again" in said
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("with_faiss", [True, False])
def test_damaged_files(with_faiss: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut and flipped files end in the right changes or in none, never in an exception or in FAISS."""
    if with_faiss:
        pytest.importorskip("faiss")
    write_old_index(tmp_path, NAMES, CODES, "l2", "flat", with_faiss=with_faiss)
    monkeypatch.setitem(sys.modules, "faiss", None)
    rng = np.random.default_rng(0)
    for name, content in files_of(tmp_path).items():
        for number in range(40):
            changed = bytearray(content)
            if number % 4:
                changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
            (tmp_path / name).write_bytes(changed if number % 4 else changed[: int(rng.integers(len(changed)))])
            changes = read_changes(tmp_path, "l2", "here", IDS, 4)
            assert len(changes.added) <= 2 and len(changes.removed) <= 2
            assert all(code.shape == (4,) and np.isfinite(code).all() for code in changes.added.values())
        (tmp_path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ids": ["../x"]}, "expected a list of ids"),
        ({"ids": {}}, "expected a list of ids"),
        ({"kind": "tree"}, "unknown kind 'tree'"),
        ({"ids": NAMES[1:]}, "expected 39 finite codes of length 4"),
    ],
)
def test_contradictory_listing(
    wrong: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A listing that does not fit is named as damaged, and the index has no changes."""
    write_old_index(tmp_path, NAMES, CODES, "l2", "flat", with_faiss=False)
    with np.load(tmp_path / "index.npz") as arrays:
        listing = json.loads(str(arrays["about"])) | wrong
    np.savez(tmp_path / "index.npz", codes=CODES, about=np.array(json.dumps(listing)))
    changes = read_changes(tmp_path, "l2", "here", IDS, 4)
    assert not changes.added and not changes.removed
    assert message in " ".join(capsys.readouterr().err.split())
