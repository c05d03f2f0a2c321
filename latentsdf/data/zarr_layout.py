"""Layout of one shape in a sample store: a Zarr v3 group with attributes and six arrays.

Lattices have `resolution` R (dense) or `sparse_resolution` r (sparse) cells per axis; vertex (i, j, k) of the dense
lattice lies at -1 + 2 (i, j, k) / R in model space and has the linear index (i (R + 1) + j) (R + 1) + k. Points and
distances are in model space, distances are negative inside, and the band has the half width `w = 2 band_voxels / R`.

| array | shape | dtype | chunk | content |
|---|---|---|---|---|
| `band_index` | (B,) | uint32 | up to 131,072 | vertices of the dense lattice in the band, see `band_codec` |
| `band_sdf` | (B,) | int16 | as `band_index` | signed distances of these vertices, in units of w / 32,767 |
| `sparse_sdf` | (r + 1, r + 1, r + 1) | float16 | up to 64^3 | signed distance at all vertices of the sparse lattice |
| `near` | (M, 4) | float32 | up to 65,536 rows | surface points with Gaussian noise, and signed distance |
| `uniform` | (M, 4) | float32 | up to 65,536 rows | uniform points of the box, and signed distance |
| `surface` | (M, 6) | float32 | up to 65,536 rows | surface points, outward unit normals; (M, 3) without normals |

Rows of `near`, `uniform` and `surface` are stored in random order, so that any run of rows is a random subset. The
chunks of the band are random subsets of it.

Attributes: `center` and `scale` (similarity to model space), `source`, `source_sha256`, `watertight`, `area`, `seed`,
`augmented`, `recipe` (JSON), `sign` (fields of `SignReport`) and `band_samples`.

Chunks are compressed with Blosc (zstd level 5, byte shuffle) and protected by a CRC-32C checksum. Every array is one
shard, a single file. Shapes imported from signed samples have them in `near`, those imported from point clouds in
`surface`; their other arrays are empty and their area is 0. The files do not depend on time or machine: equal records
give equal bytes.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from latentsdf.data.band_codec import EncodedBand, decode, encode, even_rows
from latentsdf.data.records import ShapeInfo, ShapeRecord, provenance_fields
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.utils.errors import ConfigError, StoreError

ARRAYS = ("band_index", "band_sdf", "sparse_sdf", "near", "uniform", "surface")
"""Names of the arrays of a shape."""

_ROWS = 65_536
_SPARSE_CHUNK = 64


def write_shape(folder: Path, record: ShapeRecord) -> None:
    """Write a record to a new group, then read the arrays back and compare them.

    Raises:
        StoreError: An array does not read back as it was written.
    """
    samples = record.samples
    attributes = record.attributes() | {"sign": asdict(samples.sign), "band_samples": len(samples.band_index)}
    rng = np.random.default_rng(record.seed)
    width = band_width(samples.resolution, samples.band_voxels)
    band = encode(samples.band_index, samples.band_distance, samples.resolution, width, rng)
    arrays: dict[str, tuple[NDArray[Any], int]] = {
        "band_index": (band.delta, band.chunk_rows),
        "band_sdf": (band.levels, band.chunk_rows),
        "sparse_sdf": (samples.sparse_distance.astype(np.float16), _SPARSE_CHUNK),
        "near": (rng.permutation(samples.near), _ROWS),
        "uniform": (rng.permutation(samples.uniform), _ROWS),
        "surface": (rng.permutation(samples.surface), _ROWS),
    }
    zarr.create_group(folder, attributes=attributes)
    for name, (values, rows) in arrays.items():
        _write_array(folder, name, values, rows)
    for name, (values, _) in arrays.items():
        if not np.array_equal(read_array(folder, name), values):
            raise StoreError(f"'{record.key}': array {name} does not read back as it was written; check the disk")


def read_attributes(folder: Path) -> dict[str, Any]:
    """Read the attributes of a shape."""
    return dict(zarr.open_group(folder, mode="r").attrs)


def read_info(folder: Path) -> ShapeInfo:
    """Read the metadata of a shape and the size of its files."""
    attributes = read_attributes(folder)
    return ShapeInfo(
        **provenance_fields(attributes),
        sign=SignReport(**attributes["sign"]),
        band_samples=attributes["band_samples"],
        band_bytes=_bytes_in(folder / "band_index") + _bytes_in(folder / "band_sdf"),
        stored_bytes=_bytes_in(folder),
    )


def read_samples(folder: Path, resolution: int, band_voxels: float, sparse_resolution: int) -> SdfSamples:
    """Read and decode all arrays of a shape, with the band sorted by lattice index."""
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
    """Read one of `ARRAYS` without decoding it."""
    return np.asarray(_open(folder, name)[...])


def read_rows(folder: Path, name: str, rows: slice) -> NDArray[Any]:
    """Read some rows of one of `ARRAYS`; only the chunks that contain them are read from disk."""
    return np.asarray(_open(folder, name)[rows])


def count_rows(folder: Path, name: str) -> int:
    """Number of rows of one of `ARRAYS`."""
    return _open(folder, name).shape[0]


def count_columns(folder: Path, name: str) -> int:
    """Number of columns of `near`, `uniform` or `surface`."""
    return _open(folder, name).shape[1]


def count_band_chunks(folder: Path) -> int:
    """Number of chunks of the band."""
    return _open(folder, "band_index").nchunks


def read_band(
    folder: Path, resolution: int, band_voxels: float, chunks: Sequence[int] | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Read and decode the band.

    Args:
        folder: The group of the shape.
        resolution: Cells per axis of the dense lattice.
        band_voxels: Half width of the band, in cells.
        chunks: Numbers of the chunks to read; None for all.

    Returns:
        Linear lattice indices (B,) and signed distances (B,), in the stored order.

    Raises:
        ConfigError: A chunk number is out of range.
    """
    index, sdf = _open(folder, "band_index"), _open(folder, "band_sdf")
    rows, count = index.chunks[0], index.nchunks
    chunks = range(count) if chunks is None else chunks
    if not all(0 <= chunk < count for chunk in chunks):
        raise ConfigError(
            f"shape '{folder.parent.name}/{folder.name}' has band chunks 0 to {count - 1}, got {list(chunks)}"
        )
    width = band_width(resolution, band_voxels)
    parts = []
    for run in _consecutive(chunks):
        span = slice(run.start * rows, run.stop * rows)
        parts.append(decode(EncodedBand(np.asarray(index[span]), np.asarray(sdf[span]), rows), resolution, width))
    if not parts:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _write_array(folder: Path, name: str, values: NDArray[Any], rows: int) -> None:
    """Write one array as a single shard with chunks of `rows` rows; lattices are chunked along every axis."""
    chunk = tuple(even_rows(n, rows) if axis == 0 or values.ndim == 3 else n for axis, n in enumerate(values.shape))
    array = zarr.create_array(
        folder / name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunk,
        shards=tuple(max(1, -(-n // c)) * c for n, c in zip(values.shape, chunk, strict=True)),
        compressors=(BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"), Crc32cCodec()),
        # Zarr omits chunks of zeros by default, and a missing chunk reads as zeros.
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _open(folder: Path, name: str) -> zarr.Array[Any]:
    """Open an array; raises FileNotFoundError if its shard is missing, which Zarr would read as zeros."""
    array = zarr.open_array(folder / name, mode="r")
    if array.size and not folder.joinpath(name, "c", *"0" * array.ndim).is_file():
        raise FileNotFoundError(f"the file of array {name} is missing")
    return array


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _consecutive(numbers: Sequence[int]) -> list[range]:
    """Group numbers into runs of consecutive ones, each of which is read at once."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs
