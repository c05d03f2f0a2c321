"""Nearest shapes by code: a FAISS index saved with its ids."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.errors import CheckpointError, ConfigError, MissingExtraError

Metric = Literal["l2", "cosine"]


@dataclass(frozen=True)
class Hits:
    """Neighbours of one query, nearest first. `distances` are Euclidean, or 1 - cosine."""

    ids: list[str]
    distances: list[float]


class CodeIndex:
    """Exact nearest neighbours among codes (IndexFlatL2, or IndexFlatIP on unit codes for cosine)."""

    def __init__(self, codes: Float[NDArray[np.float32], "T L"], ids: Sequence[str], metric: Metric = "l2") -> None:
        faiss = _faiss()
        self.ids = list(ids)
        self.metric: Metric = metric
        dim = codes.shape[1]
        self._index: Any = faiss.IndexFlatL2(dim) if metric == "l2" else faiss.IndexFlatIP(dim)
        self._index.add(self._prepare(codes))

    @property
    def dim(self) -> int:
        """Length of the codes."""
        return int(self._index.d)

    def nearest(self, code: Float[NDArray[np.float32], " L"], k: int = 5) -> Hits:
        """The k nearest ids (all of them if k is larger)."""
        if code.shape != (self.dim,):
            raise ConfigError(f"the index holds codes of length {self.dim}, the query has shape {code.shape}")
        if not np.isfinite(code).all():
            raise ConfigError("the query code has values that are not finite")
        values, rows = self._index.search(self._prepare(code[None]), min(k, len(self.ids)))
        # FAISS returns squared Euclidean distances, which rounding can push below 0.
        distances = np.sqrt(np.maximum(values[0], 0)) if self.metric == "l2" else 1 - values[0]
        return Hits([self.ids[row] for row in rows[0]], [float(d) for d in distances])

    def save(self, folder: Path) -> None:
        """Write `index.faiss` and `index.json` into the folder."""
        aside = folder / "index.faiss.next"
        _faiss().write_index(self._index, str(aside))
        os.replace(aside, folder / "index.faiss")
        (folder / "index.json").write_text(json.dumps({"metric": self.metric, "ids": self.ids}))

    @classmethod
    def load(cls, folder: Path) -> "CodeIndex":
        """Read an index; raises CheckpointError when it does not agree with its ids."""
        listing = json.loads((folder / "index.json").read_text())
        index = cls.__new__(cls)
        index.ids, index.metric = listing["ids"], listing["metric"]
        index._index = _faiss().read_index(str(folder / "index.faiss"))
        if index._index.ntotal != len(index.ids):
            raise CheckpointError(
                f"{folder}: index.faiss holds {index._index.ntotal} codes but index.json names {len(index.ids)}; "
                "delete both and they are built again"
            )
        return index

    def _prepare(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = np.ascontiguousarray(codes, dtype=np.float32)
        if self.metric == "cosine":
            codes = codes / np.linalg.norm(codes, axis=1, keepdims=True).clip(1e-12)
        return codes


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            "retrieval needs FAISS: pip install 'latentsdf[cpu]' (or 'latentsdf[gpu]' on Linux with CUDA)"
        ) from error
    module: ModuleType = faiss
    return module
