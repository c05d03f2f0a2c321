"""Retrieval index of a space, saved in its folder.

`index_l2/` and `index_cosine/` hold, for one metric, everything in which the index differs from an exact one of the
training codes:

| file | content |
|---|---|
| `changes.json` | kind of the index, fingerprint of the space, ids of added codes, ids that were removed |
| `added.npy` | the added codes (A, L), float32 |
| `cache.faiss`, `cache.json` | the index as FAISS stores it, and its ids; unless it is flat |
| `manifest.json` | size and SHA-256 of these files (`utils.artifacts`) |

Without such a folder, the index is an exact one of all training codes, and nothing needs to be saved. The cache can
always be rebuilt from the codes of the space and the added codes; that happens if it is damaged or missing. FAISS does
not check the files that it reads, so that a cache of another user is rebuilt, too: a file in the user's cache folder,
named by the hash of the cache, records that this user wrote it.

Removed ids are remembered, so that a command that was interrupted can be repeated.
"""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.latent import faiss_indices, old_index
from latentsdf.latent.index_changes import Changes
from latentsdf.latent.retrieval import CodeIndex, Kind, Metric, resolve_kind
from latentsdf.utils.artifacts import (
    Artifact,
    holds_artifact,
    locked,
    read_artifact,
    remove_artifact,
    write_artifact,
)
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import CheckpointError, ConfigError
from latentsdf.utils.json_files import parse_object
from latentsdf.utils.numpy_files import parse_npy
from latentsdf.utils.output_folders import require_no_links
from latentsdf.utils.shape_ids import RULE, is_id, is_key

_CHANGES, _ADDED, _CACHE, _NAMES = "changes.json", "added.npy", "cache.faiss", "cache.json"
_FILES = (_CHANGES, _ADDED, _CACHE, _NAMES)
_FORMAT = 1

Code = Float[NDArray[np.float32], " L"]


class SavedIndex:
    """Index of a space for one metric, which is read from the folder of the space and written to it.

    Args:
        folder: Folder of the space.
        codes: Codes (T, L) of the training shapes.
        ids: Their ids.
        metric: `l2` or `cosine`.
        space: Fingerprint of the space.
        verify: Compare the saved files with their checksums.

    Raises:
        CheckpointError: Added or removed ids were saved and are damaged, or their folder is a symbolic link.

    Attributes:
        index: The index in memory.
        changes: Its differences from the training codes.
    """

    def __init__(
        self,
        folder: Path,
        codes: Float[NDArray[np.float32], "T L"],
        ids: Sequence[str],
        metric: Metric,
        space: str,
        *,
        verify: bool = True,
    ) -> None:
        self._place, self._codes, self._ids = folder / f"index_{metric}", codes, list(ids)
        self._metric, self._space, self._verify = metric, space, verify
        saved = self._read()
        self.changes, cached = saved or (old_index.read_changes(folder, metric, space, ids, codes.shape[1]), None)
        self.index = cached or self._build(self.changes)
        is_new = saved is None or (cached is None and self.index.kind != "flat")
        if is_new and not self._is_exact():
            with suppress(OSError, RuntimeError), locked(folder):
                if self._current_version() == self._version:
                    self._save()

    def change_kind(self, kind: Kind) -> None:
        """Replace the index by one of another kind, and save it if the folder is writable.

        Raises:
            ConfigError: There are too few codes for the kind.
            MissingExtraError: The kind needs FAISS, which is not installed.
        """
        if not self._has_kind(kind):
            with suppress(OSError, RuntimeError), locked(self._place.parent):
                self._read_again()
                if self._rebuild(kind):
                    self._save()
            self._rebuild(kind)  # in memory, if the folder is not writable

    def _current_version(self) -> str:
        """Return what identifies the saved files; empty without saved files."""
        if not holds_artifact(self._place, _CHANGES):
            return ""
        return Artifact(self._place, "index", _FILES, verify=self._verify).version

    def _read_again(self) -> None:
        """Read the saved files if another process has changed them."""
        if self._current_version() != self._version:
            self.changes, cached = self._read(is_locked=True) or (Changes(), None)
            self.index = cached or self._build(self.changes)

    def _has_kind(self, kind: Kind) -> bool:
        return self.index.kind == resolve_kind(kind, len(self.index.ids))

    def _rebuild(self, kind: Kind) -> bool:
        """Replace the index in memory by one of another kind; return whether it had another one."""
        if self._has_kind(kind):
            return False
        changes = Changes(self.changes.added, self.changes.removed, kind)
        self.index, self.changes = self._build(changes, required=True), changes
        return True

    def update(self, add: Mapping[str, Code], remove: Sequence[str], kind: Kind | None = None) -> None:
        """Remove ids, then add codes by id, and save the index. Repeating a call changes nothing.

        Other processes that update the index at the same time wait, and their changes are kept.

        Args:
            add: Codes by id.
            remove: Ids.
            kind: Change the kind of the index first; None keeps it.

        Raises:
            ConfigError: An id to add is not valid, or has another code in the index; an id to remove was never in the
                index; codes are to be removed from an hnsw index; or there are too few codes for the kind. The saved
                index is unchanged.
            MissingExtraError: The kind needs FAISS, which is not installed.
            OSError, RuntimeError: The folder is not writable.
        """
        for name in add:
            if not (is_id(name) or is_key(name)):
                raise ConfigError(f"{name!r} is not a valid id to add; expected id or category/id, {RULE}")
        with locked(self._place.parent):
            self._read_again()
            self._apply(add, remove, kind)

    def _apply(self, add: Mapping[str, Code], remove: Sequence[str], kind: Kind | None) -> None:
        if kind is not None:
            self._rebuild(kind)
        present = set(self.index.ids)
        unknown = [name for name in remove if name not in present and name not in self.changes.removed]
        if unknown:
            raise ConfigError(f"the index has no shape '{unknown[0]}'")
        # A code that is replaced, or given again, is not removed first.
        gone = [name for name in dict.fromkeys(remove) if name in present and not self._has(name, add.get(name))]
        new = {name: code for name, code in add.items() if not self._has(name, code)}
        taken = [name for name in new if name in present and name not in gone]
        if taken:
            raise ConfigError(
                f"'{taken[0]}' is in the index with another code; remove it in the same call, or add under another id"
            )
        if gone:
            self.index.remove(gone)
        if new:
            self.index.add(np.stack(list(new.values())), list(new))
        added = {name: code for name, code in self.changes.added.items() if name not in gone} | new
        own = set(self._ids)
        removed = tuple(
            name for name in dict.fromkeys((*self.changes.removed, *gone)) if name in own or name not in added
        )
        self.changes = Changes(added, removed, self.changes.kind)
        self._save()

    def _has(self, name: str, code: Code | None) -> bool:
        """Return whether the index has exactly this code under a name."""
        if code is None:
            return False
        if name in self.changes.added:
            return np.array_equal(self.changes.added[name], code)
        return (
            name in self._ids
            and name not in self.changes.removed
            and np.array_equal(self._codes[self._ids.index(name)], code)
        )

    def _is_exact(self) -> bool:
        """Return whether the index is an exact one of the training codes, as without saved files."""
        changes = self.changes
        return not (changes.added or changes.removed) and self.index.kind == "flat" == resolve_kind(
            "auto", len(self._ids)
        )

    def _build(self, changes: Changes, *, required: bool = False) -> CodeIndex:
        """Build the index; of a saved kind that is not available, a flat one, unless it is required."""
        removed = set(changes.removed)
        kept = [row for row, name in enumerate(self._ids) if name not in removed]
        names = [*(self._ids[row] for row in kept), *changes.added]
        codes = np.concatenate((self._codes[kept], *(code[None] for code in changes.added.values())))
        if not names:
            index = CodeIndex(self._codes, self._ids, self._metric, "flat", self._space)
            index.remove(self._ids)
            return index
        kind = resolve_kind(changes.kind, len(names))
        if not required and (len(names) < faiss_indices.MIN_CODES[kind] or not faiss_indices.is_installed()):
            kind = "flat"
        return CodeIndex(codes, names, self._metric, kind, self._space)

    def _read(self, *, is_locked: bool = False) -> tuple[Changes, CodeIndex | None] | None:
        """Changes and cached index; None without saved files, or if they are of other codes.

        Args:
            is_locked: Whether the caller keeps other processes out.
        """
        require_no_links(self._place.parent, self._place.name)
        self._version = self._current_version()
        if not holds_artifact(self._place, _CHANGES):
            return None
        try:
            found: tuple[Changes, CodeIndex | None] | None = read_artifact(
                self._place, "index", _FILES, self._parse, verify=self._verify
            )
        except _OtherSpaceError as error:
            with suppress(OSError), nullcontext() if is_locked else locked(self._place.parent):
                if self._current_version() != self._version:  # another process has put a new index there
                    return self._read(is_locked=True)
                if error.has_changes:
                    show_note("index rebuilt", f"{error}; the old one is kept as {_rename_aside(self._place).name}")
                else:
                    remove_artifact(self._place)
                self._version = ""
            return None
        return found

    def _parse(self, artifact: Artifact) -> tuple[Changes, CodeIndex | None]:
        try:
            listing = parse_object(artifact.read_bytes(_CHANGES))
            kind: Any = listing.get("kind")
            added, removed = _distinct_ids(listing.get("added")), _distinct_ids(listing.get("removed"))
            if (listing.get("format"), listing.get("metric")) != (_FORMAT, self._metric):
                raise ValueError("another format or metric")
            if kind not in get_args(Kind) and kind not in get_args(faiss_indices.Kind):
                raise ValueError(f"kind {kind!r:.40}")
            artifact.require_manifest(listing.get("manifest"))
            if listing.get("space") != self._space:
                raise _OtherSpaceError(self._place, has_changes=bool(added or removed))
            codes = parse_npy(artifact.read_bytes(_ADDED))
            if codes.dtype != np.float32 or codes.shape != (len(added), self._codes.shape[1]):
                raise ValueError(f"{len(added)} codes of length {self._codes.shape[1]}, got {codes.shape}")
            if not np.isfinite(codes).all():
                raise ValueError("finite codes")
        except ValueError as error:
            raise CheckpointError(
                f"{self._place}: damaged, expected {error}; restore it from a copy, or delete the folder and add the "
                "fits again"
            ) from error
        changes = Changes(dict(zip(added, codes, strict=True)), tuple(removed), kind)
        return changes, self._cached(artifact, changes)

    def _cached(self, artifact: Artifact, changes: Changes) -> CodeIndex | None:
        """Index that FAISS stored; None if it cannot be used and is to be built again."""
        if _CACHE not in artifact or not faiss_indices.is_installed():
            return None
        try:
            path = artifact.path(_CACHE)
            if self._verify and not _record_of(artifact.sha256(_CACHE)).is_file():
                show_note("index rebuilt", f"{self._place}: {_CACHE} was not written by this user")
                return None
            listing = parse_object(artifact.read_bytes(_NAMES))
            numbers, ids = listing["numbers"], listing["ids"]
            names = dict(zip(numbers, ids, strict=True))
            expected = (set(self._ids) - set(changes.removed)) | set(changes.added)
            if len(names) < len(ids) or set(ids) != expected or not all(type(number) is int for number in numbers):
                raise ValueError("other ids")
            kind = resolve_kind(changes.kind, len(names))
            return CodeIndex.load(path, names, self._codes.shape[1], self._metric, kind, self._space)
        except (CheckpointError, ValueError, KeyError, TypeError) as error:
            show_note("index rebuilt", f"{self._place}: {error}")
            return None

    def _save(self) -> None:
        index, changes = self.index, self.changes
        if self._is_exact():
            remove_artifact(self._place)
            self._version = ""
            return
        kind = changes.kind if index.kind == "flat" and not faiss_indices.is_installed() else index.kind
        listing: dict[str, Any] = {
            "format": _FORMAT,
            "manifest": True,
            "metric": self._metric,
            "kind": kind,
            "space": self._space,
            "added": list(changes.added),
            "removed": list(changes.removed),
        }
        with write_artifact(self._place, "index", _FILES) as staged:
            codes = np.array(list(changes.added.values()), dtype=np.float32)
            np.save(staged / _ADDED, codes.reshape(len(changes.added), self._codes.shape[1]))
            if index.kind != "flat":
                (staged / _NAMES).write_text(json.dumps(index.save(staged / _CACHE)))
            (staged / _CHANGES).write_text(json.dumps(listing))
        self._version = self._current_version()
        if index.kind != "flat":
            with suppress(OSError):
                _remember(self._place)


class _OtherSpaceError(Exception):
    """A saved index belongs to other codes."""

    def __init__(self, place: Path, *, has_changes: bool) -> None:
        super().__init__(f"{place}: is the index of another space, or of this one before further training")
        self.has_changes = has_changes


def _distinct_ids(names: Any) -> list[str]:
    if not isinstance(names, list) or not all(is_id(name) or is_key(name) for name in names):
        raise ValueError(f"a list of ids, {RULE}")
    if len(set(names)) < len(names):
        raise ValueError("distinct ids")
    return names


def _rename_aside(place: Path) -> Path:
    """Rename a folder to an unused name."""
    for number in itertools.count(1):
        aside = place.with_name(f"{place.name}.old{'' if number == 1 else number}")
        if not os.path.lexists(aside):
            place.rename(aside)
            return aside
    raise AssertionError


def _remember(place: Path) -> None:
    """Record that this user wrote the cache in a folder."""
    record = _record_of(Artifact(place, "index", _FILES, verify=True).sha256(_CACHE))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()


def _record_of(sha256: str) -> Path:
    """File that exists if this user wrote the cache with a hash."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "latentsdf" / "indices" / sha256
