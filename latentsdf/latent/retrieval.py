"""Retrieval of shapes by code: a nearest-neighbor index, and re-ranking by surface distance.

`latent.saved_index` stores the index of a space in its folder.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import trimesh
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.surface import cd_l1_half, sample_surface
from latentsdf.latent import faiss_indices
from latentsdf.utils.errors import CheckpointError, ConfigError

Metric = Literal["l2", "cosine"]
Kind = Literal["auto", faiss_indices.Kind]

_EXACT_UP_TO = 100_000
_COMPRESSED_FROM = 10_000_000
_MIN_K = 10  # indices are calibrated for 10 neighbors, and the size of the shortlist is proportional to k
_CHAMFER_POINTS = 5_000


@dataclass(frozen=True)
class Hits:
    """Neighbors of one query, nearest first."""

    ids: list[str]
    distances: list[float]
    """Euclidean distances of codes, or 1 - cosine; after re-ranking, Chamfer distances (CD-L1-half, `metrics.surface`)
    of surfaces in model space."""

    def merged(self, other: "Hits", k: int) -> "Hits":
        """The k nearest hits of two disjoint sets of neighbors."""
        order = np.argsort([*self.distances, *other.distances], kind="stable")[:k]
        ids, distances = [*self.ids, *other.ids], [*self.distances, *other.distances]
        return Hits([ids[n] for n in order], [distances[n] for n in order])


class CodeIndex:
    """Nearest-neighbor index of codes under distinct ids.

    Kinds:

    - flat: exact search; does not need FAISS.
    - ivf: inverted file. A search visits enough cells for recall@10 = 0.97, and ranks a shortlist found among 4-bit
      codes by exact distance. Removing codes takes seconds per million. At least 1,000 codes.
    - hnsw: neighborhood graph, with the same recall. Takes minutes per million codes to build; codes cannot be
      removed.
    - pq: inverted file that stores only compressed codes, one byte per 2 values, which limits the recall. At least
      10,000 codes.
    - auto: flat up to 100,000 codes, ivf up to 10 million, then pq; without FAISS, always flat.

    flat and pq are searched on a GPU if FAISS supports it.

    Args:
        codes: Codes (T, L), T >= 1.
        ids: T distinct ids.
        metric: `l2` or `cosine`.
        kind: Kind of index.
        space: Fingerprint of the space of the codes.

    Raises:
        ConfigError: Codes are not finite or too few, ids repeat, or the kind or metric is unknown.
        MissingExtraError: FAISS is not installed, and the kind needs it.
    """

    def __init__(
        self,
        codes: Float[NDArray[np.float32], "T L"],
        ids: Sequence[str],
        metric: Metric = "l2",
        kind: Kind = "auto",
        space: str = "",
    ) -> None:
        if metric not in get_args(Metric) or kind not in get_args(Kind):
            raise ConfigError(
                f"metric must be one of {', '.join(get_args(Metric))} and kind one of {', '.join(get_args(Kind))}; "
                f"got '{metric}' and '{kind}'"
            )
        self.metric: Metric = metric
        self.space = space
        """Fingerprint of the space of the codes."""
        self._names: dict[int, str] = {}
        codes = self._checked(codes, ids)
        self.kind = resolve_kind(kind, len(codes))
        self._index = faiss_indices.build_index(self._prepare(codes), self.kind, inner_product=metric == "cosine")
        self._names = dict(enumerate(ids))
        self._searched = faiss_indices.to_search_device(self._index, self.kind)

    @property
    def ids(self) -> list[str]:
        """Ids of the codes, in the order in which they were added."""
        return list(self._names.values())

    @property
    def dim(self) -> int:
        """Length of the codes."""
        return int(self._index.d)

    def nearest(self, code: Float[NDArray[np.float32], " L"], k: int = 5) -> Hits:
        """Find the codes nearest to one code.

        Args:
            code: Query (L,).
            k: Number of codes to find; all codes if there are fewer.

        Raises:
            ConfigError: k is less than 1, or the query has the wrong length or values that are not finite.
        """
        if np.shape(code) != (self.dim,):
            raise ConfigError(f"the index holds codes of length {self.dim}, the query has shape {np.shape(code)}")
        numbers, distances = self.search(np.asarray(code)[None], k)
        found = numbers[0] >= 0
        return Hits([self._names[n] for n in numbers[0][found]], [float(d) for d in distances[0][found]])

    def search(
        self, codes: Float[NDArray[np.float32], "Q L"], k: int
    ) -> tuple[Int[NDArray[np.int64], "Q K"], Float[NDArray[np.float32], "Q K"]]:
        """Find the k nearest codes of each query.

        Args:
            codes: Queries (Q, L).
            k: Number of neighbors K; all codes if there are fewer.

        Returns:
            Numbers (Q, K) of the codes, in the order in which they were added, with -1 where an approximate index finds
            fewer codes; and distances (Q, K).

        Raises:
            ConfigError: k is less than 1, or a query is not finite.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        if not np.isfinite(codes).all():
            raise ConfigError("the query code has values that are not finite")
        count = len(self._names)
        if count == 0:
            return np.empty((len(codes), 0), np.int64), np.empty((len(codes), 0), np.float32)
        values, numbers = self._searched.search(self._prepare(codes), min(max(k, _MIN_K), count))
        values, numbers = values[:, : min(k, count)], numbers[:, : min(k, count)]
        # FAISS returns squared Euclidean distances, which rounding can push below 0.
        distances = np.sqrt(np.maximum(values, 0)) if self.metric == "l2" else 1 - values
        return numbers, distances

    def add(self, codes: Float[NDArray[np.float32], "M L"], ids: Sequence[str]) -> None:
        """Add codes (M, L) under M new ids.

        Raises:
            ConfigError: Codes have the wrong length or are not finite, or ids repeat or are already in the index.
        """
        codes = self._checked(codes, ids)
        if codes.shape[1] != self.dim:
            raise ConfigError(f"the index holds codes of length {self.dim}, got {codes.shape[1]}")
        first = max(self._names, default=-1) + 1
        numbers = np.arange(first, first + len(codes))
        self._index.add_with_ids(self._prepare(codes), numbers)
        self._names.update(zip(numbers.tolist(), ids, strict=True))
        self._searched = faiss_indices.to_search_device(self._index, self.kind)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove codes by id; an id may be given repeatedly.

        Raises:
            ConfigError: An id is not in the index, or the index is of kind hnsw.
        """
        numbers = {name: number for number, name in self._names.items()}
        unknown = [name for name in ids if name not in numbers]
        if unknown:
            raise ConfigError(f"the index has no shape '{unknown[0]}'")
        gone = dict.fromkeys(ids)
        faiss_indices.remove_codes(self._index, self.kind, np.array([numbers[name] for name in gone], dtype=np.int64))
        for name in gone:
            del self._names[numbers[name]]
        self._searched = faiss_indices.to_search_device(self._index, self.kind)

    def save(self, path: Path) -> dict[str, list[Any]]:
        """Write the index to a file of FAISS.

        Args:
            path: The file.

        Returns:
            Numbers and ids of the codes, which the file lacks.

        Raises:
            MissingExtraError: FAISS is not installed.
            OSError, RuntimeError: The file cannot be written.
        """
        faiss_indices.faiss().write_index(self._index, str(path))
        return {"numbers": list(self._names), "ids": self.ids}

    @classmethod
    def load(
        cls, path: Path, names: Mapping[int, str], dim: int, metric: Metric, kind: faiss_indices.Kind, space: str
    ) -> "CodeIndex":
        """Read an index that `save` wrote. FAISS trusts its files: read only those that this user wrote.

        Args:
            path: The file.
            names: Ids of the codes by number.
            dim: Length of the codes.
            metric: Metric of the index.
            kind: Kind of the index.
            space: Fingerprint of the space of the codes.

        Raises:
            CheckpointError: The file is damaged or holds other codes.
            MissingExtraError: FAISS is not installed.
        """
        lib = faiss_indices.faiss()
        index = cls.__new__(cls)
        index.metric, index.kind, index.space, index._names = metric, kind, space, dict(names)
        try:
            index._index = lib.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise CheckpointError(f"{path}: damaged index ({error!s:.80})") from error
        if (index._index.ntotal, index._index.d) != (len(names), dim):
            raise CheckpointError(
                f"{path}: holds {index._index.ntotal} codes of length {index._index.d} instead of {len(names)} of {dim}"
            )
        index._searched = faiss_indices.to_search_device(index._index, index.kind)
        return index

    def _checked(self, codes: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2 or len(codes) != len(ids) or not len(codes):
            raise ConfigError(f"an index needs codes (T, L) and T ids, got {codes.shape} and {len(ids)}")
        if not np.isfinite(codes).all():
            bad = int(np.flatnonzero(~np.isfinite(codes).all(1))[0])
            raise ConfigError(f"the code of '{ids[bad]}' has values that are not finite")
        known = set(self._names.values()) | set(ids)
        if len(known) != len(self._names) + len(ids):
            raise ConfigError("ids must be distinct and must not be in the index already")
        return codes

    def _prepare(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = np.ascontiguousarray(codes, dtype=np.float32)
        if self.metric == "cosine":
            codes = codes / np.linalg.norm(codes, axis=1, keepdims=True).clip(1e-12)
        return codes


def fingerprint(codes: Float[NDArray[np.float32], "T L"], ids: Sequence[str]) -> str:
    """Hash codes (T, L) and ids. The result identifies a space and changes with every training step."""
    digest = hashlib.sha256(np.ascontiguousarray(codes, dtype=np.float32).tobytes())
    digest.update("\n".join(ids).encode())
    return digest.hexdigest()[:32]


def resolve_kind(kind: Kind, count: int) -> faiss_indices.Kind:
    """Return the kind itself, or for `auto` the kind that suits this number of codes; without FAISS, flat."""
    if kind != "auto":
        return kind
    if not faiss_indices.is_installed():
        return "flat"
    return "flat" if count <= _EXACT_UP_TO else "ivf" if count < _COMPRESSED_FROM else "pq"


def rerank(
    query: trimesh.Trimesh, candidates: Sequence[str], surface: Callable[[str], trimesh.Trimesh], k: int
) -> Hits:
    """Order candidates by the Chamfer distance (CD-L1-half) between their surfaces and the surface of the query.

    Args:
        query: Surface of the query.
        candidates: Ids of the candidates.
        surface: Returns the surface of an id, in the frame of the query.
        k: Number of candidates to return.

    Returns:
        The k nearest candidates. Distances are computed from 5,000 samples of each surface.
    """
    points = sample_surface(query, _CHAMFER_POINTS, 0).points
    tree = cKDTree(points)
    distances = []
    for name in candidates:
        samples = sample_surface(surface(name), _CHAMFER_POINTS, 1).points
        distances.append(cd_l1_half(tree.query(samples)[0], cKDTree(samples).query(points)[0]))
    order = np.argsort(distances, kind="stable")[:k]
    return Hits([candidates[i] for i in order], [float(distances[i]) for i in order])
