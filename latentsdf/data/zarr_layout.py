"""How one shape lies in its Zarr v3 group: the only file that knows array names, dtypes and chunks.

| array | content |
|---|---|
| `band_index`, `band_sdf` | lattice vertex (uint32) and int16 distance over the band width, in random strata |
| `sparse_sdf` | the whole sparse lattice, float16 |
| `near`, `uniform` | (M, 4) xyz + signed distance, float32, shuffled |
| `surface` | (M, 6) point + normal, or (M, 3) of a cloud without normals, float32, shuffled |

Each chunk of the band is one of its strata, coded by `strata`. Every array is one shard file of checksummed chunks. A
shape imported from samples at random places has them in `near`; its other arrays are empty, and its unknown area is 0.
Nothing here depends on time or machine: the same record gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from latentsdf.data.band_codec import CodedBand, decode, encode, even_rows
from latentsdf.data.records import ShapeInfo, ShapeRecord, provenance_of
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.utils.errors import ConfigError, StoreError

ARRAYS = ("band_index", "band_sdf", "sparse_sdf", "near", "uniform", "surface")

_ROWS = 65_536
_SPARSE_CHUNK = 64


def write_shape(folder: Path, record: ShapeRecord) -> None:
    """Attributes and arrays in a new group, read back; StoreError where they differ."""
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
        if not np.array_equal(read_array(folder, name), values):
            raise StoreError(f"'{record.key}': array {name} does not read back as it was written; check the disk")


def read_attributes(folder: Path) -> dict[str, Any]:
    """The attributes as they were written."""
    return dict(zarr.open_group(folder, mode="r").attrs)


def read_info(folder: Path) -> ShapeInfo:
    """The attributes, and what the files take."""
    attributes = read_attributes(folder)
    return ShapeInfo(
        **provenance_of(attributes),
        sign=SignReport(**attributes["sign"]),
        band_samples=attributes["band_samples"],
        band_bytes=_bytes_in(folder / "band_index") + _bytes_in(folder / "band_sdf"),
        stored_bytes=_bytes_in(folder),
    )


def read_samples(folder: Path, resolution: int, band_voxels: float, sparse_resolution: int) -> SdfSamples:
    """All arrays; the band sorted by index again."""
    index, distance = read_band(folder, resolution, band_voxels)
    order = np.argsort(index)
    return SdfSamples(
        resolution=resolution,
        band_voxels=band_voxels,
        band_index=index[order],
        band_distance=distance[order],
        sparse_resolution=sparse_resolution,
        sparse_distance=read_array(folder, "sparse_sdf").astype(np.float32),
        near=read_array(folder, "near"),
        uniform=read_array(folder, "uniform"),
        surface=read_array(folder, "surface"),
        sign=SignReport(**read_attributes(folder)["sign"]),
    )


def read_array(folder: Path, name: str) -> NDArray[Any]:
    """One of `ARRAYS`, as it is stored."""
    return np.asarray(_open(folder, name)[...])


def read_rows(folder: Path, name: str, rows: slice) -> NDArray[Any]:
    """Some rows of one of `ARRAYS`; only the chunks they lie in are read."""
    return np.asarray(_open(folder, name)[rows])


def count_rows(folder: Path, name: str) -> int:
    """Rows of one of `ARRAYS`."""
    return _open(folder, name).shape[0]


def count_columns(folder: Path, name: str) -> int:
    """Columns of `near`, `uniform` or `surface`."""
    return _open(folder, name).shape[1]


def count_strata(folder: Path) -> int:
    """Number of strata of the band."""
    return _open(folder, "band_index").nchunks


def read_band(
    folder: Path, resolution: int, band_voxels: float, strata: Sequence[int] | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Linear lattice index (B,) and signed distance (B,) of the given strata, or of all.

    Raises ConfigError for a stratum that is not there.
    """
    index, sdf = _open(folder, "band_index"), _open(folder, "band_sdf")
    rows, count = index.chunks[0], index.nchunks
    strata = range(count) if strata is None else strata
    if not all(0 <= stratum < count for stratum in strata):
        raise ConfigError(f"shape '{folder.parent.name}/{folder.name}' has strata 0 to {count - 1}, got {list(strata)}")
    width = band_width(resolution, band_voxels)
    parts = []
    for run in _consecutive(strata):
        span = slice(run.start * rows, run.stop * rows)
        parts.append(decode(CodedBand(np.asarray(index[span]), np.asarray(sdf[span]), rows), resolution, width))
    if not parts:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


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


def _open(folder: Path, name: str) -> zarr.Array[Any]:
    """Open an array; FileNotFoundError when its shard is missing, which Zarr would read as zeros."""
    array = zarr.open_array(folder / name, mode="r")
    if array.size and not folder.joinpath(name, "c", *"0" * array.ndim).is_file():
        raise FileNotFoundError(f"the file of array {name} is missing")
    return array


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
