"""The sample store: one Zarr v3 group per shape. The only file that knows array names, dtypes, chunks and version.

Root attributes name the format, its version and the sampling settings. `shapes/<category>/<id>` holds

| array | content |
|---|---|
| `band_index`, `band_sdf` | lattice vertex (uint32) and int16 distance over the band width, in random strata |
| `sparse_sdf` | the whole sparse lattice, float16 |
| `near`, `uniform` | (M, 4) xyz + signed distance, float32, shuffled |
| `surface` | (M, 6) point + normal, float32, shuffled |

Each chunk of the band is one of its strata, coded by `strata`. Every array is one shard file of checksummed chunks. A
shape is written under `tmp/`, read back, and renamed into place, so no reader sees half a shape. A shape imported from
samples at random places has them in `near`; its other arrays are empty, and its unknown area is 0.
"""

import errno
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ContainsGroupError

from latentsdf import settings
from latentsdf.config import SamplingConfig
from latentsdf.errors import ConfigError, LatentSDFError, StoreError
from latentsdf.geometry.mesh import Similarity
from latentsdf.geometry.sampling import SdfSamples, band_width
from latentsdf.geometry.sign import SignReport
from latentsdf.strata import CodedBand, decode, encode, even_rows

FORMAT = "latentsdf-samples"
VERSION = 1

_ARRAYS = ("band_index", "band_sdf", "sparse_sdf", "near", "uniform", "surface")
_ROWS = 65_536
_SPARSE_CHUNK = 64
# One plain folder name: no separator, no leading dot or "__" (reserved by Zarr), not the name of Zarr's own file.
_KEY = re.compile(r"(?!__)[\w+=,@()\-][\w.+=,@() \-]*/(?!__|zarr\.json$)[\w+=,@()\-][\w.+=,@() \-]*")


@dataclass(frozen=True)
class ShapeRecord:
    """All that is stored for one shape; `area` and distances in model space."""

    category: str
    id: str
    samples: SdfSamples
    similarity: Similarity
    source: str
    source_sha256: str
    watertight: bool
    area: float
    seed: int

    @property
    def key(self) -> str:
        """category/id"""
        return f"{self.category}/{self.id}"

    def attributes(self) -> dict[str, Any]:
        """All but the samples and the key, as plain values that every file format can hold."""
        return {
            "center": list(self.similarity.center),
            "scale": self.similarity.scale,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "watertight": self.watertight,
            "area": self.area,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class ShapeInfo:
    """A shape's attributes, read without its arrays."""

    similarity: Similarity
    source: str
    source_sha256: str
    watertight: bool
    area: float
    seed: int
    sign: SignReport
    band_samples: int
    band_bytes: int
    stored_bytes: int


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
        with _disk_full_is_named(path):
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
            return cls(path, settings.from_dict(SamplingConfig, sampling, source=str(path)))
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
        with _disk_full_is_named(self.path):
            try:
                _require_same_lattice(record, self.config)
                _write_shape(aside / "new", record)
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
        """Attributes of one shape."""
        with self._shape(key) as folder:
            attributes: dict[str, Any] = dict(zarr.open_group(folder, mode="r").attrs)
            return ShapeInfo(
                similarity=Similarity(tuple(attributes["center"]), attributes["scale"]),
                source=attributes["source"],
                source_sha256=attributes["source_sha256"],
                watertight=attributes["watertight"],
                area=attributes["area"],
                seed=attributes["seed"],
                sign=SignReport(**attributes["sign"]),
                band_samples=attributes["band_samples"],
                band_bytes=_bytes_in(folder / "band_index") + _bytes_in(folder / "band_sdf"),
                stored_bytes=_bytes_in(folder),
            )

    def band_strata(self, key: str) -> int:
        """Number of strata of a shape's band."""
        with self._shape(key) as folder:
            return _array(folder, "band_index").nchunks

    def band(self, key: str, strata: Sequence[int] | None = None) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Linear lattice index (B,) and signed distance (B,) of the given strata, or of the whole band.

        Any stratum is a fair sample of the band; the order within it carries no meaning.
        """
        with self._shape(key) as folder:
            index, sdf = _array(folder, "band_index"), _array(folder, "band_sdf")
            rows, count = index.chunks[0], index.nchunks
            strata = range(count) if strata is None else strata
            if not all(0 <= stratum < count for stratum in strata):
                raise ConfigError(f"shape '{key}' has strata 0 to {count - 1}, got {list(strata)}")
            parts = []
            width = band_width(self.config.resolution, self.config.band_voxels)
            for run in _consecutive(strata):
                span = slice(run.start * rows, run.stop * rows)
                band = CodedBand(np.asarray(index[span]), np.asarray(sdf[span]), rows)
                parts.append(decode(band, self.config.resolution, width))
        if not parts:
            return np.empty(0, np.uint32), np.empty(0, np.float32)
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def space(self, key: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The near (M, 4) and uniform (M, 4) samples."""
        with self._shape(key) as folder:
            return _values(folder, "near"), _values(folder, "uniform")

    def read(self, key: str) -> ShapeRecord:
        """Everything of one shape; the band sorted by index again."""
        info = self.info(key)
        index, distance = self.band(key)
        order = np.argsort(index)
        near, uniform = self.space(key)
        with self._shape(key) as folder:
            samples = SdfSamples(
                resolution=self.config.resolution,
                band_voxels=self.config.band_voxels,
                band_index=index[order],
                band_distance=distance[order],
                sparse_resolution=self.config.sparse_resolution,
                sparse_distance=_values(folder, "sparse_sdf").astype(np.float32),
                near=near,
                uniform=uniform,
                surface=_values(folder, "surface"),
                sign=info.sign,
            )
        category, _, name = key.partition("/")
        return ShapeRecord(
            category=category,
            id=name,
            samples=samples,
            similarity=info.similarity,
            source=info.source,
            source_sha256=info.source_sha256,
            watertight=info.watertight,
            area=info.area,
            seed=info.seed,
        )

    def verify(self, key: str) -> None:
        """Read every chunk against its checksum; StoreError names the shape that fails."""
        self.info(key)
        with self._shape(key) as folder:
            for name in _ARRAYS:
                _values(folder, name)

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
                f"{self.path}: shape '{key}' is damaged ({error}); rebuild it with the latentsdf-preprocess command "
                f"that made the store and --glob '{key}' --overwrite"
            ) from error


def _hash_of(sampling: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits that two stores share when they were sampled alike."""
    return hashlib.sha256(json.dumps(sampling, sort_keys=True).encode()).hexdigest()[:16]


def _is_key(key: str) -> bool:
    """Can a shape be stored under this category/id?"""
    return _KEY.fullmatch(key) is not None


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _consecutive(numbers: Sequence[int]) -> list[range]:
    """Runs of consecutive numbers, which are read at once."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs


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


def _write_shape(folder: Path, record: ShapeRecord) -> None:
    """Attributes and arrays, read back and compared."""
    samples = record.samples
    attributes = record.attributes() | {"sign": asdict(samples.sign), "band_samples": len(samples.band_index)}
    rng = np.random.default_rng(record.seed)
    width = band_width(samples.resolution, samples.band_voxels)
    band = encode(samples.band_index, samples.band_distance, samples.resolution, width, rng)
    arrays: dict[str, tuple[NDArray[Any], int]] = {
        "band_index": (band.delta, band.rows),
        "band_sdf": (band.steps, band.rows),
        "sparse_sdf": (samples.sparse_distance.astype(np.float16), _SPARSE_CHUNK),
        "near": (rng.permutation(samples.near), _ROWS),
        "uniform": (rng.permutation(samples.uniform), _ROWS),
        "surface": (rng.permutation(samples.surface), _ROWS),
    }
    zarr.create_group(folder, attributes=attributes)
    for name, (values, rows) in arrays.items():
        _put(folder, name, values, rows)
    for name, (values, _) in arrays.items():
        if not np.array_equal(_values(folder, name), values):
            raise StoreError(f"'{record.key}': array {name} does not read back as it was written; check the disk")


def _put(folder: Path, name: str, values: NDArray[Any], rows: int) -> None:
    """One array in one shard file, its chunks compressed and checksummed; only lattices are cut on every axis."""
    chunk = tuple(even_rows(n, rows) if axis == 0 or values.ndim == 3 else n for axis, n in enumerate(values.shape))
    array = zarr.create_array(
        folder / name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=tuple(max(1, -(-n // c)) * c for n, c in zip(values.shape, chunk, strict=True)),
        compressors=(BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()),
        # A chunk of zeros would leave no trace in the file, and a lost one would read as zeros.
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _array(folder: Path, name: str) -> zarr.Array[Any]:
    """Open an array; FileNotFoundError when its shard is missing, which Zarr would read as zeros."""
    array = zarr.open_array(folder / name, mode="r")
    if array.size and not folder.joinpath(name, "c", *"0" * array.ndim).is_file():
        raise FileNotFoundError(f"the file of array {name} is missing")
    return array


def _values(folder: Path, name: str, rows: slice = slice(None)) -> NDArray[Any]:
    return np.asarray(_array(folder, name)[rows])


@contextmanager
def _disk_full_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{path}: the disk is full; shapes written before are complete, free space and run again to resume"
            ) from error
        raise
