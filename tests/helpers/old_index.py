"""Retrieval indices as version 0.1 saved them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from latentsdf.latent.retrieval import CodeIndex, Metric


def write_old_index(
    folder: Path, names: list[str], codes: np.ndarray, metric: Metric, kind: Any, *, with_faiss: bool
) -> None:
    """Save an index of codes (N, L) for the space with the fingerprint `here`."""
    listing = {"metric": metric, "kind": kind, "space": "here", "numbers": list(range(len(names))), "ids": names}
    stem = "index" if metric == "l2" else "index_cosine"
    if not with_faiss:
        np.savez(folder / f"{stem}.npz", codes=codes, about=np.array(json.dumps(listing)))
        return
    CodeIndex(codes, names, metric, kind).save(folder / f"{stem}.faiss")
    (folder / f"{stem}.json").write_text(json.dumps(listing))
