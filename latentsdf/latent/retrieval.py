"""Retrieval of shapes by code: a nearest-neighbor index, its files, and re-ranking by surface distance.

The index of a space is saved in its folder: `index.faiss` and `index.json` (ids and the fingerprint of the space) for
Euclidean distance, `index_cosine.faiss` and `index_cosine.json` for cosine distance. It is built when it is first
opened. Without FAISS, an index of kind flat is built in memory whenever it is opened; only changes of it are saved, as
`index.npz`, which replaces the other two files and which a machine with FAISS reads, too. An index that is damaged, or
of other codes because the space was trained further, is renamed to
`index.faiss.old` and `index.json.old`, and a new one is built.
"""

import hashlib
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from latentsdf.latent.flat_index import FlatIndex
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import CheckpointError, ConfigError, MissingExtraError

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

    unread: Sequence[str] = ()
    """Ids that were added to a saved index that cannot be read, because FAISS is not installed."""

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
        """Remove codes by id.

        Raises:
            ConfigError: An id is not in the index, or the index is of kind hnsw.
        """
        numbers = {name: number for number, name in self._names.items()}
        unknown = [name for name in ids if name not in numbers]
        if unknown:
            raise ConfigError(f"the index has no shape '{unknown[0]}'")
        faiss_indices.remove_codes(self._index, self.kind, np.array([numbers[name] for name in ids], dtype=np.int64))
        for name in ids:
            del self._names[numbers[name]]
        self._searched = faiss_indices.to_search_device(self._index, self.kind)

    def rebuilt(self, kind: Kind) -> "CodeIndex":
        """Build an index of another kind with the same codes.

        Args:
            kind: Kind of the new index.

        Raises:
            ConfigError: This index does not store its codes, or there are too few codes for the new kind.
        """
        numbers, codes = faiss_indices.stored_codes(self._index, self.kind)
        order = np.argsort(numbers)
        return CodeIndex(codes[order], [self._names[n] for n in numbers[order]], self.metric, kind, self.space)

    def save(self, folder: Path) -> None:
        """Write the index to a folder from which `load` reads it.

        Raises:
            OSError, RuntimeError: The folder is not writable; an older index is unchanged.
            MissingExtraError: FAISS is not installed, and codes that were added to the saved index would be lost.
        """
        index, listing, flat = _files(folder, self.metric)
        about = {
            "metric": self.metric,
            "kind": self.kind,
            "space": self.space,
            "numbers": list(self._names),
            "ids": self.ids,
        }
        if isinstance(self._index, FlatIndex):
            if self.unread:
                raise MissingExtraError(
                    f"{index} holds codes that were added to it ({', '.join(self.unread[:3])}) and that only FAISS can "
                    f"read; pip install 'latentsdf[cpu]', or delete {index.name} and {listing.name} to go on without "
                    "them"
                )
            with atomic_write(flat) as aside, aside.open("wb") as file:
                np.savez(file, codes=self._index.codes, about=np.array(json.dumps(about)))
            for stale in (listing, index):
                stale.unlink(missing_ok=True)
            return
        with atomic_write(index) as aside:
            faiss_indices.faiss().write_index(self._index, str(aside))
            # Inside the block: if the listing cannot be written, both old files are kept.
            with atomic_write(listing) as listing_aside:
                listing_aside.write_text(json.dumps(about))
        flat.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path, metric: Metric = "l2", space: str | None = None) -> "CodeIndex":
        """Read an index from a folder.

        Args:
            folder: Folder given to `save`.
            metric: Metric of the index.
            space: Fingerprint of the space that the codes must belong to; None accepts any.

        Raises:
            FileNotFoundError: There is no index of this metric.
            CheckpointError: The index is damaged or belongs to another space.
            MissingExtraError: The index was written by FAISS, which is not installed.
        """
        path, listing, flat = _files(folder, metric)
        for file in (flat,) if flat.is_file() else (path, listing):
            if not file.is_file():
                raise FileNotFoundError(f"{file}: no such index")
        index = cls.__new__(cls)
        try:
            if flat.is_file():
                path = flat
                with np.load(flat) as arrays:
                    about, codes = json.loads(str(arrays["about"])), arrays["codes"]
            else:
                about = json.loads(listing.read_text())
            index.metric, index.kind, index.space = about["metric"], about["kind"], about["space"]
            index._names = dict(zip(about["numbers"], about["ids"], strict=True))
            if path == flat:
                index._index = faiss_indices.build_index(
                    codes, "flat", inner_product=metric == "cosine", numbers=list(index._names)
                )
            else:
                index._index = faiss_indices.faiss().read_index(str(path))
        except MissingExtraError:
            raise
        except (
            json.JSONDecodeError,
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
            EOFError,
            zipfile.BadZipFile,
        ) as error:
            raise CheckpointError(f"{path}: damaged index ({error!s:.80}); delete it to rebuild it") from error
        if index._index.ntotal != len(index._names):
            raise CheckpointError(
                f"{folder}: {path.name} holds {index._index.ntotal} codes but {listing.name} names "
                f"{len(index._names)}; delete both to rebuild it"
            )
        if space is not None and index.space != space:
            raise CheckpointError(
                f"{path}: expected an index of this space (fingerprint {space}), got one of {index.space}, a different "
                "space or this one before further training; build it from the codes of this space"
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


def open_index(
    folder: Path, codes: Float[NDArray[np.float32], "T L"], ids: Sequence[str], metric: Metric, space: str
) -> CodeIndex:
    """Load the index of a space from its folder, or build it from the codes of the space and save it.

    An index that cannot be used is renamed. If the folder is not writable, the new index is not saved. Without FAISS,
    an index that needs it is left as it is, and a new one is built in memory.

    Args:
        folder: Folder of the space.
        codes: Codes (T, L) of the training shapes.
        ids: Their ids.
        metric: `l2` or `cosine`.
        space: Fingerprint of the space.

    Returns:
        The index; `unread` names added codes that it lacks because reading them needs FAISS.
    """
    try:
        return CodeIndex.load(folder, metric, space)
    except MissingExtraError:
        index = CodeIndex(codes, ids, metric, "flat", space)
        index.unread = _added_ids(folder, metric, space, ids)
        if index.unread:
            names = ", ".join(index.unread[:3]) + (", ..." if len(index.unread) > 3 else "")
            show_note("not searched", f"{names}: codes added to an index that only FAISS can read")
        return index
    except (FileNotFoundError, CheckpointError) as error:
        index = CodeIndex(codes, ids, metric, space=space)
        with suppress(OSError, RuntimeError):
            renamed = _keep_old_files(folder, metric)
            if renamed:
                names = " and ".join(file.name for file in renamed)
                show_note("index rebuilt", f"{error}. The old files are kept as {names}")
            if faiss_indices.is_installed():
                index.save(folder)
        return index


def change_kind(index: CodeIndex, kind: Kind, folder: Path) -> CodeIndex:
    """Return an index of a given kind.

    Args:
        index: The present index.
        kind: Kind of the result.
        folder: Folder in which a new index is saved if it is writable.

    Returns:
        The index itself if it is of this kind, otherwise a new one.
    """
    if index.kind == resolve_kind(kind, len(index.ids)):
        return index
    rebuilt = index.rebuilt(kind)
    with suppress(OSError, RuntimeError):
        rebuilt.save(folder)
    return rebuilt


def update_index(
    index: CodeIndex, folder: Path, add: Mapping[str, Float[NDArray[np.float32], " L"]], remove: Sequence[str]
) -> None:
    """Remove ids from an index, add codes by id, and save it.

    Raises:
        ConfigError: As for `CodeIndex.remove` and `CodeIndex.add`; the saved index is unchanged.
        OSError, RuntimeError: The folder is not writable.
    """
    if remove:
        index.remove(remove)
    if add:
        index.add(np.stack(list(add.values())), list(add))
    index.save(folder)


def _added_ids(folder: Path, metric: Metric, space: str, ids: Sequence[str]) -> list[str]:
    """Ids of an index written by FAISS that are not among those of its space; none if the index is not usable."""
    try:
        about = json.loads(_files(folder, metric)[1].read_text())
        return [name for name in about["ids"] if name not in set(ids)] if about["space"] == space else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _keep_old_files(folder: Path, metric: Metric) -> list[Path]:
    """Rename the files of an index, if there are any, to unused names; returns the new paths."""
    files = [file for file in _files(folder, metric) if file.is_file()]
    for number in itertools.count(1):
        places = [file.with_name(f"{file.name}.old{'' if number == 1 else number}") for file in files]
        if not any(place.exists() for place in places):
            break
    for file, place in zip(files, places, strict=True):
        file.rename(place)
    return places


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


def _files(folder: Path, metric: Metric) -> tuple[Path, Path, Path]:
    """Files of an index: that of FAISS, its listing, and the one written without FAISS."""
    stem = "index" if metric == "l2" else f"index_{metric}"
    return folder / f"{stem}.faiss", folder / f"{stem}.json", folder / f"{stem}.npz"
