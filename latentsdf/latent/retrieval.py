"""Nearest shapes by code: a FAISS index, exact or approximate by size, saved with its ids and the space it is of."""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import trimesh
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.surface import cd_l1_half, sample_surface
from latentsdf.latent import faiss_indices
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import CheckpointError, ConfigError

Metric = Literal["l2", "cosine"]
Kind = Literal["auto", faiss_indices.Kind]

_EXACT_UP_TO = 100_000
_COMPRESSED_FROM = 10_000_000
_LEAST_SOUGHT = 10  # indices are tuned for that many neighbours, and re-rank a shortlist that grows with them
_CHAMFER_POINTS = 5_000


@dataclass(frozen=True)
class Hits:
    """Neighbours of one query, nearest first.

    `distances` are Euclidean, or 1 - cosine; after re-ranking CD-L1-half between surfaces in model space.
    """

    ids: list[str]
    distances: list[float]


class CodeIndex:
    """Nearest neighbours among codes (T, L) with distinct ids.

    - flat: exact.
    - ivf: codes in cells, of which a search visits as many as recall@10 = 0.97 takes; a shortlist found among codes at
      4 bits a value is ranked exactly. Removing codes takes seconds a million. From 1,000 codes.
    - hnsw: a graph of neighbours, searched as widely as that takes; minutes a million to build, cannot forget codes.
    - pq: codes in cells, each compressed to a byte for every 2 values and nothing else kept; recall is what that
      leaves. From 10,000 codes.
    - auto: flat up to 100,000 codes, ivf up to 10 million, then pq.

    A flat or pq index is searched on a GPU where FAISS was built for one. Raises ConfigError for codes that are not
    finite, too few of them, ids that repeat, and unknown kinds or metrics.
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
                f"metric is one of {', '.join(get_args(Metric))} and kind one of {', '.join(get_args(Kind))}; "
                f"got '{metric}' and '{kind}'"
            )
        self.metric: Metric = metric
        self.space = space
        """Fingerprint of the space that the codes are of."""
        self._names: dict[int, str] = {}
        codes = self._checked(codes, ids)
        self.kind = kind_for(kind, len(codes))
        self._index = faiss_indices.build(self._prepare(codes), self.kind, inner_product=metric == "cosine")
        self._names = dict(enumerate(ids))
        self._searched = faiss_indices.for_search(self._index, self.kind)

    @property
    def ids(self) -> list[str]:
        """Names of the codes, in the order they came."""
        return list(self._names.values())

    @property
    def dim(self) -> int:
        """Length of the codes."""
        return int(self._index.d)

    def nearest(self, code: Float[NDArray[np.float32], " L"], k: int = 5) -> Hits:
        """The k nearest ids (all of them if k is larger)."""
        if np.shape(code) != (self.dim,):
            raise ConfigError(f"the index holds codes of length {self.dim}, the query has shape {np.shape(code)}")
        numbers, distances = self.search(np.asarray(code)[None], k)
        found = numbers[0] >= 0
        return Hits([self._names[n] for n in numbers[0][found]], [float(d) for d in distances[0][found]])

    def search(
        self, codes: Float[NDArray[np.float32], "Q L"], k: int
    ) -> tuple[Int[NDArray[np.int64], "Q K"], Float[NDArray[np.float32], "Q K"]]:
        """Numbers of the k nearest codes of each query, counted in the order they were given, and distances.

        An approximate index has the number -1 where it finds fewer.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        if not np.isfinite(codes).all():
            raise ConfigError("the query code has values that are not finite")
        count = len(self._names)
        values, numbers = self._searched.search(self._prepare(codes), min(max(k, _LEAST_SOUGHT), count))
        values, numbers = values[:, : min(k, count)], numbers[:, : min(k, count)]
        # FAISS returns squared Euclidean distances, which rounding can push below 0.
        distances = np.sqrt(np.maximum(values, 0)) if self.metric == "l2" else 1 - values
        return numbers, distances

    def add(self, codes: Float[NDArray[np.float32], "M L"], ids: Sequence[str]) -> None:
        """Further codes under new ids."""
        codes = self._checked(codes, ids)
        if codes.shape[1] != self.dim:
            raise ConfigError(f"the index holds codes of length {self.dim}, got {codes.shape[1]}")
        first = max(self._names, default=-1) + 1
        numbers = np.arange(first, first + len(codes))
        self._index.add_with_ids(self._prepare(codes), numbers)
        self._names.update(zip(numbers.tolist(), ids, strict=True))
        self._searched = faiss_indices.for_search(self._index, self.kind)

    def remove(self, ids: Sequence[str]) -> None:
        """Forget some codes; a graph of neighbours cannot."""
        numbers = {name: number for number, name in self._names.items()}
        unknown = [name for name in ids if name not in numbers]
        if unknown:
            raise ConfigError(f"the index holds no shape '{unknown[0]}'")
        faiss_indices.forget(self._index, self.kind, np.array([numbers[name] for name in ids], dtype=np.int64))
        for name in ids:
            del self._names[numbers[name]]
        self._searched = faiss_indices.for_search(self._index, self.kind)

    def rebuilt(self, kind: Kind) -> "CodeIndex":
        """The same codes in an index of another kind. Raises ConfigError for a pq index, which keeps none of them."""
        numbers, codes = faiss_indices.held_codes(self._index, self.kind)
        order = np.argsort(numbers)
        return CodeIndex(codes[order], [self._names[n] for n in numbers[order]], self.metric, kind, self.space)

    def save(self, folder: Path) -> None:
        """Write the index and its listing into the folder, `index.faiss` and `index.json` for l2."""
        index, listing = _files(folder, self.metric)
        about = {
            "metric": self.metric,
            "kind": self.kind,
            "space": self.space,
            "numbers": list(self._names),
            "ids": self.ids,
        }
        with atomic_write(index) as aside:
            faiss_indices.faiss().write_index(self._index, str(aside))
            # Inside the block: if the listing cannot be written, the old pair stays.
            with atomic_write(listing) as listing_aside:
                listing_aside.write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path, metric: Metric = "l2", space: str | None = None) -> "CodeIndex":
        """Read an index; raises FileNotFoundError, or CheckpointError when it is damaged or of another `space`."""
        path, listing = _files(folder, metric)
        for file in (path, listing):
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no such index")
        faiss = faiss_indices.faiss()
        index = cls.__new__(cls)
        try:
            about = json.loads(listing.read_text())
            index.metric, index.kind, index.space = about["metric"], about["kind"], about["space"]
            index._names = dict(zip(about["numbers"], about["ids"], strict=True))
            index._index = faiss.read_index(str(path))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: damaged index ({error!s:.80}); delete it and it is built again") from error
        if index._index.ntotal != len(index._names):
            raise CheckpointError(
                f"{folder}: {path.name} holds {index._index.ntotal} codes but {listing.name} names "
                f"{len(index._names)}; delete both and they are built again"
            )
        if space is not None and index.space != space:
            raise CheckpointError(
                f"{path}: the index is of another space, or of this one before it was trained on, so its codes mean "
                "something else here; build it from this space's codes"
            )
        index._searched = faiss_indices.for_search(index._index, index.kind)
        return index

    def _checked(self, codes: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
        codes = np.asarray(codes, dtype=np.float32)
        if codes.ndim != 2 or len(codes) != len(ids) or not len(codes):
            raise ConfigError(f"an index needs codes (T, L) and as many ids, got {codes.shape} and {len(ids)}")
        if not np.isfinite(codes).all():
            bad = int(np.flatnonzero(~np.isfinite(codes).all(1))[0])
            raise ConfigError(f"the code of '{ids[bad]}' has values that are not finite")
        known = set(self._names.values()) | set(ids)
        if len(known) != len(self._names) + len(ids):
            raise ConfigError("ids must be distinct, among each other and from those in the index")
        return codes

    def _prepare(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = np.ascontiguousarray(codes, dtype=np.float32)
        if self.metric == "cosine":
            codes = codes / np.linalg.norm(codes, axis=1, keepdims=True).clip(1e-12)
        return codes


def set_aside(folder: Path, metric: Metric) -> list[Path]:
    """Rename the index of a folder, or what there is of one, to names that are free; returns these."""
    files = [file for file in _files(folder, metric) if file.is_file()]
    for number in itertools.count(1):
        places = [file.with_name(f"{file.name}.old{'' if number == 1 else number}") for file in files]
        if not any(place.exists() for place in places):
            break
    for file, place in zip(files, places, strict=True):
        file.rename(place)
    return places


def fingerprint(codes: Float[NDArray[np.float32], "T L"], ids: Sequence[str]) -> str:
    """Name of a set of codes by content, so that an index knows what it is of."""
    digest = hashlib.sha256(np.ascontiguousarray(codes, dtype=np.float32).tobytes())
    digest.update("\n".join(ids).encode())
    return digest.hexdigest()[:32]


def kind_for(kind: Kind, count: int) -> faiss_indices.Kind:
    """The kind itself, or what `auto` is for so many codes."""
    if kind != "auto":
        return kind
    return "flat" if count <= _EXACT_UP_TO else "ivf" if count < _COMPRESSED_FROM else "pq"


def rerank(
    query: trimesh.Trimesh, candidates: Sequence[str], surface: Callable[[str], trimesh.Trimesh], k: int
) -> Hits:
    """The k candidates whose surface is nearest the query's by CD-L1-half, 5,000 points a side, all in one frame."""
    points = sample_surface(query, _CHAMFER_POINTS, 0).points
    tree = cKDTree(points)
    distances = []
    for name in candidates:
        theirs = sample_surface(surface(name), _CHAMFER_POINTS, 1).points
        distances.append(cd_l1_half(tree.query(theirs)[0], cKDTree(theirs).query(points)[0]))
    order = np.argsort(distances, kind="stable")[:k]
    return Hits([candidates[i] for i in order], [float(distances[i]) for i in order])


def _files(folder: Path, metric: Metric) -> tuple[Path, Path]:
    stem = "index" if metric == "l2" else f"index_{metric}"
    return folder / f"{stem}.faiss", folder / f"{stem}.json"
