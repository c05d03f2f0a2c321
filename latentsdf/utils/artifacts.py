"""Folders of files that belong together: written whole or not at all, and checked when they are read.

`manifest.json` lists the files of an artifact:

    {"format": "latentsdf-manifest", "version": 1, "kind": "fit",
     "files": {"code.npy": {"bytes": 384, "sha256": "9f86..."}, ...}}

The kinds are `space`, `field`, `fit` and `index`. Other files may be in the folder; they are left alone.

**Writing.** All files are written to a new folder `.next~<host>~<process>~<random>` inside the artifact's folder, the
manifest last. Renaming it to `.next` is the moment of replacement: from then on, readers use the files in `.next` and,
for those that were moved already, the ones in the folder. Then the files are moved up, files of the older artifact are
deleted, and the manifest is moved last. After a crash before the rename, readers see the older artifact, after a later
one the newer; the next reader or writer completes the move. Nothing is written or deleted through symbolic links.

**Reading.** Every file is compared with its size and SHA-256 in the manifest. Artifacts of earlier versions have no
manifest and are read without this check.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar

from latentsdf.utils.atomic_files import full_disk_named
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import CheckpointError
from latentsdf.utils.json_files import is_number, parse_object
from latentsdf.utils.regular_files import regular_size
from latentsdf.utils.temporary_names import is_abandoned, temporary_name

try:
    import fcntl
except ImportError:  # Windows: without protection against two processes that write one folder at the same time
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
ArtifactKind = Literal["space", "field", "fit", "index"]

MANIFEST = "manifest.json"
_FORMAT = "latentsdf-manifest"
_VERSION = 1
_STAGED = ".next"
_PREFIX = ".next~"
_OLD_MARK, _OLD_STATELESS = "complete", "without a state"  # of checkpoints that earlier versions wrote
_ATTEMPTS = 5  # of reading an artifact that another process replaces meanwhile
MAX_MANIFEST = 1 << 20
"""Largest manifest that is read, in bytes."""
_REMEDY: Mapping[ArtifactKind, str] = {
    "space": "restore it from a copy, or train again",
    "field": "restore it from a copy, or reconstruct again",
    "fit": "restore it from a copy, or invert the shape again",
    "index": "restore it from a copy, or delete the folder and add the fits again",
}
_noted: set[ArtifactKind] = set()  # kinds of which an artifact without a manifest was reported


@dataclass(frozen=True)
class _Entry:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class _Manifest:
    """Parsed manifest, and the SHA-256 of its file, which identifies this version of the artifact."""

    files: Mapping[str, _Entry]
    digest: str


class Artifact:
    """An artifact that is being read.

    Args:
        folder: Folder of the artifact.
        kind: Kind of the artifact.
        names: Names of all files that artifacts of this kind may have.
        verify: Compare files with their SHA-256; their sizes are compared in any case.

    Raises:
        CheckpointError: The manifest is damaged.
    """

    def __init__(self, folder: Path, kind: ArtifactKind, names: Collection[str], *, verify: bool) -> None:
        self.folder, self.kind = folder, kind
        self._names, self._verify = names, verify
        self._manifest = _current_manifest(folder, kind, names)

    @property
    def has_manifest(self) -> bool:
        """Whether the artifact has a manifest."""
        return self._manifest is not None

    @property
    def files(self) -> list[str]:
        """Names of the files in the manifest; of an artifact without a manifest, of those that exist."""
        if self._manifest is not None:
            return list(self._manifest.files)
        return [name for name in self._names if (self.folder / name).is_file()]

    def __contains__(self, name: str) -> bool:
        return (self._manifest is None or name in self._manifest.files) and self._place(name).is_file()

    def require_manifest(self, declared: object) -> None:
        """Check whether an artifact without a manifest never had one.

        Args:
            declared: Value of `manifest` in the metadata of the artifact: true since there are manifests.

        Raises:
            CheckpointError: The artifact was written with a manifest, which is missing.
        """
        if self.has_manifest:
            return
        if declared and self._verify:
            raise CheckpointError(
                f"{self.folder}: {MANIFEST} is missing, so damage of the other files would not be noticed; copy the "
                "whole folder, or pass --no-verify (in Python, verify=False) to read it unchecked"
            )
        if self.kind not in _noted:
            _noted.add(self.kind)
            show_note("not verified", f"{self.folder}: has no {MANIFEST}, as an earlier version wrote it")

    def read_bytes(self, name: str) -> bytes:
        """Read a file whole.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        return self._read(name, lambda path: path.read_bytes(), lambda data: hashlib.sha256(data).hexdigest())

    def path(self, name: str) -> Path:
        """Check a file and return its path, for a reader that maps it to memory.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        return self._read(name, lambda path: path, _sha256)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file according to the manifest; empty if it has none."""
        entry = self._manifest.files.get(name) if self._manifest is not None else None
        return entry.sha256 if entry is not None else ""

    def size(self, name: str) -> int:
        """Return the size of a file according to the manifest, in bytes; 0 if it has none."""
        entry = self._manifest.files.get(name) if self._manifest is not None else None
        return entry.size if entry is not None else 0

    @property
    def version(self) -> str:
        """Identifies the content of an artifact with a manifest; empty without one."""
        return self._manifest.digest if self._manifest is not None else ""

    def is_current(self) -> bool:
        """Return whether no other process has replaced the artifact since it was opened."""
        try:
            now = Artifact(self.folder, self.kind, self._names, verify=self._verify)
        except CheckpointError:
            return True  # damaged, not replaced
        return now.version == self.version

    def _read(self, name: str, read: Callable[[Path], T], digest: Callable[[T], str]) -> T:
        entry = self._manifest.files.get(name) if self._manifest is not None else None
        if self._manifest is not None and entry is None:
            raise CheckpointError(f"{self.folder}: {name} is missing in {MANIFEST}; {_REMEDY[self.kind]}")
        try:
            path = self._place(name)
            if not path.exists():
                path = self._place(name)  # another process has moved it up meanwhile
            size = regular_size(path)
            if entry is not None and size != entry.size:
                raise CheckpointError(
                    f"{self.folder / name}: damaged, it has {size:,} bytes instead of {entry.size:,}; "
                    f"{_REMEDY[self.kind]}"
                )
            content = read(path)
            if entry is not None and self._verify and digest(content) != entry.sha256:
                raise CheckpointError(
                    f"{self.folder / name}: damaged, its SHA-256 is not that in {MANIFEST}; {_REMEDY[self.kind]}"
                )
        except FileNotFoundError:
            raise CheckpointError(f"{self.folder}: {name} is missing; {_REMEDY[self.kind]}") from None
        except ValueError as error:
            raise CheckpointError(f"{error}; {_REMEDY[self.kind]}") from error
        return content

    def _place(self, name: str) -> Path:
        """Path of a file: in the folder that replaces the artifact, or moved up already."""
        staged = self.folder / _STAGED / name
        if self._manifest is not None and _is_staged(self.folder) and staged.is_file() and not staged.is_symlink():
            return staged
        return self.folder / name


def read_artifact(
    folder: Path, kind: ArtifactKind, names: Collection[str], read: Callable[[Artifact], T], *, verify: bool = True
) -> T:
    """Read an artifact, completing a replacement that a crash interrupted.

    Args:
        folder: Folder of the artifact.
        kind: Kind of the artifact.
        names: Names of all files that artifacts of this kind may have.
        read: Reads the files; called again if another process replaces the artifact meanwhile.
        verify: Compare files with their SHA-256.

    Returns:
        The result of `read`.

    Raises:
        CheckpointError: A file is missing or damaged, or the artifact is replaced all the time.
    """
    with suppress(OSError):  # a folder that cannot be written is read as it is
        complete_replacement(folder, kind, names)
    for _ in range(_ATTEMPTS):
        artifact = Artifact(folder, kind, names, verify=verify)
        try:
            result = read(artifact)
        except Exception:
            if artifact.is_current():
                raise
            continue
        if artifact.is_current():
            return result
    raise CheckpointError(f"{folder}: is being replaced by another process; try again when that has ended")


@contextmanager
def write_artifact(folder: Path, kind: ArtifactKind, names: Collection[str]) -> Iterator[Path]:
    """Write an artifact, replacing an older one in the folder as a whole.

    Args:
        folder: Folder of the artifact; created if missing.
        kind: Kind of the artifact.
        names: Names of all files that artifacts of this kind may have. Those that the new artifact lacks are deleted.

    Yields:
        Empty folder for the files. If the block raises, an older artifact is unchanged.

    Raises:
        CheckpointError: `.next` in the folder is a symbolic link.
        OutputError: The disk is full, or the folder read-only.
    """
    with full_disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob(f"{_PREFIX}*"):
        if is_abandoned(other.name, _PREFIX) and not other.is_symlink():
            shutil.rmtree(other, ignore_errors=True)
    staging = folder / temporary_name(_PREFIX)
    try:
        with full_disk_named(folder):
            staging.mkdir(parents=True)  # a command that failed may have removed the folder, which was empty
            yield staging
            _write_manifest(staging, kind)
            with locked(folder):
                _complete(folder, kind, names)
                os.rename(staging, folder / _STAGED)
                _complete(folder, kind, names)
    finally:
        if staging.is_dir():
            shutil.rmtree(staging, ignore_errors=True)


def complete_replacement(folder: Path, kind: ArtifactKind, names: Collection[str]) -> None:
    """Complete a replacement that a crash interrupted.

    Raises:
        CheckpointError: `.next` is a symbolic link, or its manifest is damaged.
        OSError: The folder is not writable.
    """
    if os.path.lexists(folder / _STAGED):
        with locked(folder):
            _complete(folder, kind, names)


def holds_artifact(folder: Path, name: str) -> bool:
    """Return whether a folder holds an artifact, or what is left of one.

    Args:
        folder: The folder.
        name: A file of every artifact of this kind.
    """
    return (folder / MANIFEST).is_file() or (folder / name).is_file() or is_interrupted(folder, name)


def is_interrupted(folder: Path, name: str) -> bool:
    """Return whether a folder holds a file only in `.next`, from which a crash kept it from being moved up."""
    return not (folder / _STAGED).is_symlink() and (folder / _STAGED / name).is_file()


def remove_artifact(folder: Path) -> None:
    """Delete a folder that consists of an artifact only; a symbolic link is deleted instead of what it points to."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        # Renamed first, so that a crash leaves the artifact whole or absent.
        aside = folder.with_name(temporary_name(_PREFIX))
        os.rename(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _complete(folder: Path, kind: ArtifactKind, names: Collection[str]) -> None:
    """Move the files in a complete folder `.next` up, and delete the other files of the older artifact."""
    staged = folder / _STAGED
    if not _is_staged(folder):
        return
    manifest = _read_manifest(staged, kind, names)
    if manifest is not None:
        for name in names:
            if name not in manifest.files:
                (folder / name).unlink(missing_ok=True)
        for name in manifest.files:
            if (staged / name).is_file() and not (staged / name).is_symlink():
                os.replace(staged / name, folder / name)
        os.replace(staged / MANIFEST, folder / MANIFEST)
    elif (staged / _OLD_MARK).is_file():
        _complete_old(staged, folder, names)
    else:
        with suppress(OSError):
            staged.rmdir()  # emptied by a completion that was interrupted at its end
        return  # otherwise never complete
    shutil.rmtree(staged)


def _complete_old(staged: Path, folder: Path, names: Collection[str]) -> None:
    """Complete the replacement of a checkpoint that an earlier version interrupted, without a manifest."""
    if (staged / _OLD_MARK).read_text() == _OLD_STATELESS:
        (folder / "state.pt").unlink(missing_ok=True)
    for name in names:
        if (staged / name).is_file():
            os.replace(staged / name, folder / name)


def _is_staged(folder: Path) -> bool:
    """Return whether there is a folder `.next`; raises CheckpointError for a link, through which files would move."""
    staged = folder / _STAGED
    if staged.is_symlink():
        raise CheckpointError(f"{staged}: is a symbolic link, which latentsdf never makes; remove it")
    return staged.is_dir()


def _current_manifest(folder: Path, kind: ArtifactKind, names: Collection[str]) -> _Manifest | None:
    """Manifest of the artifact that readers see."""
    staged = _read_manifest(folder / _STAGED, kind, names) if _is_staged(folder) else None
    return staged or _read_manifest(folder, kind, names)


def _read_manifest(folder: Path, kind: ArtifactKind, names: Collection[str]) -> _Manifest | None:
    path = folder / MANIFEST
    try:
        if regular_size(path) > MAX_MANIFEST:
            raise ValueError(f"it has more than {MAX_MANIFEST:,} bytes")
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error}); {_REMEDY[kind]}") from error
    try:
        content = parse_object(data)
        if (content.get("format"), content.get("kind")) != (_FORMAT, kind):
            raise ValueError(f"expected the manifest of a {kind}")
        if content.get("version") != _VERSION:
            raise ValueError(f"version {content.get('version')!r}, but this latentsdf reads {_VERSION}")
        files = content.get("files")
        if not isinstance(files, dict):
            raise ValueError("expected files")
        entries = {name: _entry(name, value, names) for name, value in files.items()}
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error}); {_REMEDY[kind]}") from error
    return _Manifest(entries, hashlib.sha256(data).hexdigest())


def _entry(name: str, value: Any, names: Collection[str]) -> _Entry:
    if name not in names:
        raise ValueError(f"unexpected file {name!r}")
    size, sha256 = (value.get("bytes"), value.get("sha256")) if isinstance(value, dict) else (None, None)
    if not is_number(size) or not isinstance(size, int) or size < 0 or not _is_sha256(sha256):
        raise ValueError(f"expected bytes and sha256 of {name!r}")
    return _Entry(size, sha256)


def _is_sha256(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _write_manifest(folder: Path, kind: ArtifactKind) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    content = {"format": _FORMAT, "version": _VERSION, "kind": kind, "files": files}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep out other processes and threads that lock the same folder, on file systems that have locks."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
