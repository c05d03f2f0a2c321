"""The sample store: one Zarr v3 group per shape. The only file that knows array names, dtypes, chunks and version.

Root attributes name the format, its version and the sampling settings. `shapes/<category>/<id>` holds

| array | content |
|---|---|
| `band_index`, `band_sdf` | lattice index (uint32) and int16 distance over the band width, in random strata |
| `sparse_sdf` | the sparse lattice, float16 |
| `near`, `uniform` | (M, 4) xyz + signed distance, float32, shuffled |
| `surface` | (M, 6) point + normal, float32, shuffled |

A stratum is a random share of the band, one chunk, sorted and delta-coded: it compresses like sorted data and yet is
a fair sample. A shape is written under `tmp/`, read back, and renamed into place, so no reader sees half a shape.
"""

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from latentsdf import settings
from latentsdf.config import SamplingConfig
from latentsdf.errors import ConfigError, StoreError
from latentsdf.geometry.mesh import Similarity
from latentsdf.geometry.sampling import SdfSamples
from latentsdf.geometry.sign import SignReport

FORMAT = "latentsdf-samples"
VERSION = 1
STRATUM_ROWS = 131_072
"""Band samples of a stratum."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_+=,@()\-][A-Za-z0-9._+=,@() \-]*")
_SDF_STEPS = 32_767


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
    stored_bytes: int


class SampleStore:
    """A folder of shapes with one set of sampling settings."""

    def __init__(self, path: Path, config: SamplingConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: Path | str, config: SamplingConfig) -> "SampleStore":
        """Make a store, or continue one with the same settings; StoreError names the settings that differ."""
        path = Path(path)
        if path.exists() and any(path.iterdir()):
            store = cls.open(path)
            old, new = asdict(store.config), asdict(config)
            changed = [f"{name} ({old[name]} there, {new[name]} now)" for name in new if old[name] != new[name]]
            if changed:
                raise StoreError(
                    f"{path}: was made with other settings: {', '.join(changed)}; "
                    "use the same settings, or write to another store"
                )
            shutil.rmtree(path / "tmp", ignore_errors=True)
            return store
        attributes = {
            "format": FORMAT,
            "version": VERSION,
            "sampling": asdict(config),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with _disk_full_is_named(path):
            zarr.create_group(path, attributes=attributes).create_group("shapes")
        return cls(path, config)

    @classmethod
    def open(cls, path: Path | str) -> "SampleStore":
        """Open a store; StoreError when it is none, or of another version."""
        path = Path(path)
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such sample store; make one with latentsdf-preprocess --out {path}")
        try:
            attributes = dict(zarr.open_group(path, mode="r").attrs)
        except (FileNotFoundError, ValueError, json.JSONDecodeError) as error:
            raise StoreError(f"{path}: not a sample store (no readable Zarr group)") from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{path}: a Zarr group, but not a {FORMAT} store")
        if attributes.get("version") != VERSION:
            raise StoreError(
                f"{path}: store version {attributes.get('version')}, this latentsdf reads version {VERSION}; "
                "preprocess again, or use the version that wrote it"
            )
        sampling: Any = attributes["sampling"]
        return cls(path, settings.from_dict(SamplingConfig, sampling, source=str(path)))

    def keys(self) -> list[str]:
        """category/id of every complete shape, sorted."""
        found = (self.path / "shapes").glob("*/*/zarr.json")
        return sorted(f"{file.parent.parent.name}/{file.parent.name}" for file in found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: str) -> bool:
        category, name = split_key(key)
        return (self.path / "shapes" / category / name / "zarr.json").is_file()

    def __len__(self) -> int:
        return len(self.keys())

    def write(self, record: ShapeRecord) -> None:
        """Add or replace one shape, whole or not at all."""
        category, name = split_key(record.key)
        final = self.path / "shapes" / category / name
        aside = self.path / "tmp" / uuid.uuid4().hex
        with _disk_full_is_named(self.path):
            try:
                aside.parent.mkdir(exist_ok=True)
                _write_arrays(aside, record, self.config)
                _read_all(aside)
                final.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(aside, final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def info(self, key: str) -> ShapeInfo:
        """Attributes of one shape."""
        attributes: dict[str, Any] = dict(self._group(key).attrs)
        folder = self.path / "shapes" / key
        return ShapeInfo(
            Similarity(tuple(attributes["center"]), attributes["scale"]),
            attributes["source"],
            attributes["source_sha256"],
            attributes["watertight"],
            attributes["area"],
            attributes["seed"],
            SignReport(**attributes["sign"]),
            attributes["band_samples"],
            sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        )

    def band_strata(self, key: str) -> int:
        """Number of strata of a shape's band."""
        samples: Any = self._group(key).attrs["band_samples"]
        return -(-int(samples) // STRATUM_ROWS)

    def band(self, key: str, strata: Sequence[int] | None = None) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Lattice index (B,) and signed distance (B,) of the given strata, or of the whole band."""
        group = self._group(key)
        strata = range(self.band_strata(key)) if strata is None else strata
        total: Any = group.attrs["band_samples"]
        index, distance = [], []
        with self._damage_is_named(key):
            for stratum in strata:
                rows = slice(stratum * STRATUM_ROWS, min((stratum + 1) * STRATUM_ROWS, total))
                index.append(np.cumsum(_array(group, "band_index")[rows], dtype=np.uint32))
                distance.append(_array(group, "band_sdf")[rows])
        width = _band_width(self.config)
        return np.concatenate(index), (np.concatenate(distance) * np.float32(width / _SDF_STEPS)).astype(np.float32)

    def space(self, key: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The near (M, 4) and uniform (M, 4) samples."""
        group = self._group(key)
        with self._damage_is_named(key):
            return _array(group, "near")[:], _array(group, "uniform")[:]

    def read(self, key: str) -> ShapeRecord:
        """Everything of one shape; the band sorted by index again."""
        group, info = self._group(key), self.info(key)
        index, distance = self.band(key)
        order = np.argsort(index)
        near, uniform = self.space(key)
        with self._damage_is_named(key):
            sparse = _array(group, "sparse_sdf")[:].astype(np.float32)
            surface = _array(group, "surface")[:]
        samples = SdfSamples(
            self.config.resolution,
            self.config.band_voxels,
            index[order],
            distance[order],
            self.config.sparse_resolution,
            sparse,
            near,
            uniform,
            surface,
            info.sign,
        )
        category, name = split_key(key)
        return ShapeRecord(
            category,
            name,
            samples,
            info.similarity,
            info.source,
            info.source_sha256,
            info.watertight,
            info.area,
            info.seed,
        )

    def verify(self, key: str) -> None:
        """Read every chunk against its checksum; StoreError names the shape that fails."""
        with self._damage_is_named(key):
            _read_all(self.path / "shapes" / key)

    def _group(self, key: str) -> zarr.Group:
        category, name = split_key(key)
        folder = self.path / "shapes" / category / name
        if not (folder / "zarr.json").is_file():
            raise StoreError(f"{self.path}: holds no shape '{key}'")
        return zarr.open_group(folder, mode="r")

    @contextmanager
    def _damage_is_named(self, key: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(
                f"{self.path}: shape '{key}' is damaged ({error}); "
                "delete its folder and run latentsdf-preprocess again to rebuild it"
            ) from error


def split_key(key: str) -> tuple[str, str]:
    """Category and id of a key; ConfigError for names that are no plain folder names."""
    category, _, name = key.partition("/")
    for part in (category, name):
        if not _SAFE_NAME.fullmatch(part):
            raise ConfigError(f"'{key}' is no shape key; expected category/id of letters, digits and ._-+=,@()")
    return category, name


def _band_width(config: SamplingConfig) -> float:
    return config.band_voxels * 2 / config.resolution


def _write_arrays(folder: Path, record: ShapeRecord, config: SamplingConfig) -> None:
    samples = record.samples
    attributes = {
        "center": list(record.similarity.center),
        "scale": record.similarity.scale,
        "source": record.source,
        "source_sha256": record.source_sha256,
        "watertight": record.watertight,
        "area": record.area,
        "seed": record.seed,
        "sign": asdict(samples.sign),
        "band_samples": len(samples.band_index),
    }
    group = zarr.create_group(folder, attributes=attributes)
    rng = np.random.default_rng(record.seed)
    index, distance = _stratify(samples.band_index, samples.band_distance, rng)
    quantized = np.rint(distance * (_SDF_STEPS / _band_width(config))).clip(-_SDF_STEPS, _SDF_STEPS).astype(np.int16)
    _put(group, "band_index", index, STRATUM_ROWS)
    _put(group, "band_sdf", quantized, STRATUM_ROWS)
    _put(group, "sparse_sdf", samples.sparse_distance.astype(np.float16), 64)
    for name in ("near", "uniform", "surface"):
        rows: NDArray[np.float32] = getattr(samples, name)
        _put(group, name, rows[rng.permutation(len(rows))], 65_536)


def _stratify(
    index: NDArray[np.uint32], distance: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Random strata of STRATUM_ROWS, each sorted; the index as differences within its stratum."""
    order = rng.permutation(len(index))
    for start in range(0, len(order), STRATUM_ROWS):
        order[start : start + STRATUM_ROWS].sort()
    delta = index[order]
    for start in range(0, len(delta), STRATUM_ROWS):
        stratum = delta[start : start + STRATUM_ROWS]
        stratum[1:] = np.diff(stratum)
    return delta, distance[order]


def _put(group: zarr.Group, name: str, values: NDArray[Any], rows: int) -> None:
    """One array in one shard file, its chunks compressed and checksummed."""
    chunk = tuple(min(rows, n) if axis == 0 or values.ndim == 3 else n for axis, n in enumerate(values.shape))
    chunk = tuple(max(1, n) for n in chunk)
    shard = tuple(max(1, -(-n // c)) * c for n, c in zip(values.shape, chunk, strict=True))
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=shard,
        compressors=(BloscCodec(cname="zstd", clevel=5, shuffle=BloscShuffle.bitshuffle), Crc32cCodec()),
    )
    array[...] = values


def _read_all(folder: Path) -> None:
    group = zarr.open_group(folder, mode="r")
    for name in ("band_index", "band_sdf", "sparse_sdf", "near", "uniform", "surface"):
        _array(group, name)[...]


def _array(group: zarr.Group, name: str) -> Any:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


@contextmanager
def _disk_full_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{path}: the disk is full; shapes written before are complete, free space and resume"
            ) from error
        raise
