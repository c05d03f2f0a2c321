"""FAISS indices by kind: removal, and calibrated search."""

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.latent.faiss_indices import MIN_CODES, Kind, build_index, remove_codes

CODES = np.random.default_rng(0).normal(size=(2_000, 8)).astype(np.float32)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_removed_codes(kind: Kind) -> None:
    """Removed codes are not found, and the others keep their numbers."""
    index = build_index(CODES, kind, inner_product=False)
    remove_codes(index, kind, np.array([3, 700]))
    assert index.ntotal == 1_998
    assert index.search(CODES[[3, 4]], 1)[1].ravel().tolist()[1] == 4
    assert 3 not in index.search(CODES[[3]], 10)[1]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_recall_of_new_queries(kind: Kind) -> None:
    """The calibrated search finds at least 95 % of the 10 nearest codes of queries that are not in the index."""
    queries = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)
    truth = np.argsort(((queries[:, None] - CODES) ** 2).sum(-1), axis=1)[:, :10]
    found = build_index(CODES, kind, inner_product=False).search(queries, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)]) >= 0.95


def test_too_few_codes() -> None:
    """Each kind names the number of codes that it needs."""
    for kind, count in MIN_CODES.items():
        if count > 1:
            with pytest.raises(ls.ConfigError, match=f"kind '{kind}' needs at least {count:,} codes"):
                build_index(CODES[: min(count - 1, 500)], kind, inner_product=False)
