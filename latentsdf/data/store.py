"""The sample store: a folder of shapes sampled alike, each written whole or not at all.

The attributes of the Zarr v3 root name the format, its version and the sampling settings; `shapes/<category>/<id>`
holds a shape as `layout` says. A shape is written under `tmp/`, read back, and renamed into place, so no reader sees
half a shape.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ContainsGroupError

from latentsdf.config import loader
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data import zarr_layout
from latentsdf.data.records import ShapeInfo, ShapeRecord, provenance_of
from latentsdf.utils.atomic_files import disk_full_as_store_error
from latentsdf.utils.errors import ConfigError, LatentSDFError, StoreError

FORMAT = "latentsdf-samples"
VERSION = 1

# One plain folder name: no separator, no leading dot or "__" (reserved by Zarr), not the name of Zarr's own file.
_KEY = re.compile(r"(?!__)[\w+=,@()\-][\w.+=,@() \-]*/(?!__|zarr\.json$)[\w+=,@()\-][\w.+=,@() \-]*")


class SampleStore:
    """A folder of shapes with one set of sampling settings. Several processes may write different shapes at once."""

    def __init__(self, path: Path, config: SamplingConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: Path | str, config: SamplingConfig) -> "SampleStore":
        """Make a store, or continue one with the same settings and clear what killed writers left behind.

        Raises StoreError that names the settings that differ, or when the path holds something else.
        """
        path = Path(path)
        if path.is_file():
            raise StoreError(f"{path}: is a file; name a folder for the sample store")
        if path.exists() and any(path.iterdir()):
            store = cls.open(path)
            old, new = asdict(store.config), asdict(config)
            changed = [f"{name} ({old[name]} there, {new[name]} now)" for name in new if old[name] != new[name]]
            if changed:
                raise StoreError(
                    f"{path}: was made with other settings: {', '.join(changed)}; "
                    "use the same settings, or write to another store"
                )
            for folder in (path / "tmp").glob("*"):
                if _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            return store
        attributes = {
            "format": FORMAT,
            "version": VERSION,
            "sampling": asdict(config),
            "settings_hash": _hash_of(asdict(config)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "library": f"latentsdf {_library_version()}",
        }
        with disk_full_as_store_error(path):
            zarr.create_group(path, attributes=attributes)
        return cls(path, config)

    @classmethod
    def open(cls, path: Path | str) -> "SampleStore":
        """Open a store; FileNotFoundError when nothing is there, StoreError when it is none or of another version."""
        path = Path(path)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such sample store; make one with latentsdf-preprocess --out {path}")
        try:
            attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
        except (FileNotFoundError, ValueError) as error:
            raise StoreError(f"{path}: not a sample store (no readable Zarr group)") from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{path}: a Zarr group, but not a {FORMAT} store")
        if attributes.get("version") != VERSION:
            raise StoreError(
                f"{path}: store version {attributes.get('version')}, this latentsdf reads version {VERSION}; "
                "preprocess again, or use the latentsdf that wrote it"
            )
        sampling = attributes.get("sampling", {})
        if attributes.get("settings_hash") != _hash_of(sampling):
            raise StoreError(
                f"{path}: its sampling settings do not match their hash (edited, or a draft); preprocess again"
            )
        try:
            return cls(path, loader.from_dict(SamplingConfig, sampling, source=str(path)))
        except ConfigError as error:
            raise StoreError(f"{error}; the store's settings are from another latentsdf, preprocess again") from error

    def keys(self) -> list[str]:
        """category/id of every complete shape, sorted."""
        found = (self.path / "shapes").glob("*/*/zarr.json")
        return sorted(f"{file.parent.parent.name}/{file.parent.name}" for file in found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: str) -> bool:
        return bool(_KEY.fullmatch(key)) and (self._folder(key) / "zarr.json").is_file()

    def __len__(self) -> int:
        return len(self.keys())

    def write(self, record: ShapeRecord) -> None:
        """Add or replace one shape, whole or not at all. Raises StoreError when the disk is full."""
        final = self._folder(record.key)
        aside = self.path / "tmp" / f"{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex}"
        with disk_full_as_store_error(self.path):
            try:
                _require_same_lattice(record, self.config)
                zarr_layout.write_shape(aside / "new", record)
                for group in (final.parent.parent, final.parent):
                    # Two workers may bring the first shape of a category at once.
                    with suppress(ContainsGroupError):
                        zarr.open_group(group, mode="a")
                if final.exists():
                    # Deleting in place could be cut short and leave half a shape.
                    os.replace(final, aside / "old")
                os.replace(aside / "new", final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def info(self, key: str) -> ShapeInfo:
        """What is known of one shape without its arrays."""
        with self._shape(key) as folder:
            return zarr_layout.read_info(folder)

    def provenance(self, key: str) -> tuple[str, int]:
        """SHA-256 of the source that a shape was made from, and the seed of its sampling."""
        with self._shape(key) as folder:
            attributes = zarr_layout.read_attributes(folder)
            return attributes["source_sha256"], attributes["seed"]

    def band_strata(self, key: str) -> int:
        """Number of strata of a shape's band."""
        with self._shape(key) as folder:
            return zarr_layout.count_strata(folder)

    def band(self, key: str, strata: Sequence[int] | None = None) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Linear lattice index (B,) and signed distance (B,) of the given strata, or of the whole band.

        Any stratum is a fair sample of the band; the order within it carries no meaning.
        """
        with self._shape(key) as folder:
            return zarr_layout.read_band(folder, self.config.resolution, self.config.band_voxels, strata)

    def offsurface_samples(self, key: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The near (M, 4) and uniform (M, 4) samples."""
        with self._shape(key) as folder:
            return zarr_layout.read_array(folder, "near"), zarr_layout.read_array(folder, "uniform")

    def offsurface_rows(self, key: str) -> int:
        """How many near and uniform samples a shape has."""
        with self._shape(key) as folder:
            return zarr_layout.count_rows(folder, "near") + zarr_layout.count_rows(folder, "uniform")

    def some_offsurface_samples(
        self, key: str, share: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A share in (0, 1] of the near (m, 4) and of the uniform (n, 4) samples, from a random place of each.

        They were shuffled when they were written, so any run of rows is a fair sample.
        """
        with self._shape(key) as folder:
            return _some_rows(folder, "near", share, rng), _some_rows(folder, "uniform", share, rng)

    def surface_shape(self, key: str) -> tuple[int, int]:
        """How many surface points a shape has, and their columns: 6 with normals, 3 without."""
        with self._shape(key) as folder:
            return zarr_layout.count_rows(folder, "surface"), zarr_layout.count_columns(folder, "surface")

    def some_surface(self, key: str, share: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """A share in (0, 1] of the surface points (m, 6), or (m, 3) without normals, from a random place."""
        with self._shape(key) as folder:
            return _some_rows(folder, "surface", share, rng)

    def sparse(self, key: str) -> NDArray[np.float16]:
        """Signed distance on the sparse lattice, (r + 1, r + 1, r + 1) for `sparse_resolution` r."""
        with self._shape(key) as folder:
            return zarr_layout.read_array(folder, "sparse_sdf")

    def read(self, key: str) -> ShapeRecord:
        """Everything of one shape; the band sorted by index again."""
        category, _, name = key.partition("/")
        lattices = self.config.resolution, self.config.band_voxels, self.config.sparse_resolution
        with self._shape(key) as folder:
            known = provenance_of(zarr_layout.read_attributes(folder))
            return ShapeRecord(category=category, id=name, samples=zarr_layout.read_samples(folder, *lattices), **known)

    def verify(self, key: str) -> None:
        """Read every chunk against its checksum; StoreError names the shape that fails."""
        with self._shape(key) as folder:
            zarr_layout.read_info(folder)
            for name in zarr_layout.ARRAYS:
                zarr_layout.read_array(folder, name)

    def _folder(self, key: str) -> Path:
        if not _is_key(key):
            raise ConfigError(f"'{key}' is no shape key; expected category/id of letters, digits, blanks and ._-+=,@()")
        return self.path / "shapes" / key

    @contextmanager
    def _shape(self, key: str) -> Iterator[Path]:
        """The folder of a shape; whatever cannot be read from it becomes a StoreError that names the shape."""
        if key not in self:
            raise StoreError(f"{self.path}: holds no shape '{key}'")
        try:
            yield self._folder(key)
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            if isinstance(error, LatentSDFError):
                raise
            raise StoreError(
                f"{self.path}: shape '{key}' is damaged ({error}); rebuild it: the command that made the store, "
                f"latentsdf-preprocess or latentsdf import, with --glob '{key}' --overwrite"
            ) from error


def _some_rows(folder: Path, name: str, share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A share of the rows of an array that was shuffled when it was written."""
    total = zarr_layout.count_rows(folder, name)
    rows = math.ceil(share * total)
    start = int(rng.integers(total - rows + 1))
    return zarr_layout.read_rows(folder, name, slice(start, start + rows))


def _hash_of(sampling: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits that two stores share when they were sampled alike."""
    return hashlib.sha256(json.dumps(sampling, sort_keys=True).encode()).hexdigest()[:16]


def _is_key(key: str) -> bool:
    """Can a shape be stored under this category/id?"""
    return _KEY.fullmatch(key) is not None


def _library_version() -> str:
    try:
        return importlib.metadata.version("latentsdf")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def _is_abandoned(folder: Path) -> bool:
    """Was this folder under `tmp/` left by a process of this machine that is gone?"""
    host, _, rest = folder.name.partition("~")
    process = rest.partition("~")[0]
    if not process.isdecimal():
        return True
    if host != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _require_same_lattice(record: ShapeRecord, config: SamplingConfig) -> None:
    samples = record.samples
    got = (samples.resolution, samples.band_voxels, samples.sparse_resolution)
    expected = (config.resolution, config.band_voxels, config.sparse_resolution)
    if got != expected:
        raise StoreError(
            f"'{record.key}': sampled with resolution, band_voxels, sparse_resolution {got}; the store has {expected}"
        )
