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
`augmented`, `recipe` (JSON), `sign` (fields of `SignReport`), `band_samples`, `sampling_version`, and of each array, by
name, its shape (`array_shapes`) and the SHA-256 of its values (`array_sha256`). Stores of earlier versions lack the
last three. All that a training run needs to plan its memory is thus in one file, which matters for 100,000 shapes.

Chunks are compressed with Blosc (zstd level 5, byte shuffle) and protected by a CRC-32C checksum. Every array is one
shard, a single file. What an array declares is compared with this layout and with the size of its file before it is
read, because a store may come from an untrusted source. Shapes imported from signed samples have them in `near`, those
imported from point clouds in `surface`; their other arrays are empty and their area is 0. The files do not depend on
time or machine: equal records give equal bytes.
"""

import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.storage import ObjectStore

from latentsdf.data.band_codec import CHUNK_ROWS, EncodedBand, decode, encode, even_rows
from latentsdf.data.records import ShapeInfo, ShapeRecord, ShapeSummary, provenance_fields
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.utils.errors import ConfigError, StoreError
from latentsdf.utils.json_files import is_number, parse_object
from latentsdf.utils.object_storage import ObjectPath
from latentsdf.utils.regular_files import regular_size

StorePath = Path | ObjectPath
"""Path of a store, or of a group, array or file in it: on disk or in object storage."""

ARRAYS = ("band_index", "band_sdf", "sparse_sdf", "near", "uniform", "surface")
"""Names of the arrays of a shape."""

MAX_BYTES = 1 << 34
"""Largest array that is read: 16 GiB."""

_ROWS = 65_536
_SPARSE_CHUNK = 64
_LAYOUT: dict[str, tuple[type, tuple[tuple[int, ...], ...]]] = {
    "band_index": (np.uint32, ((),)),
    "band_sdf": (np.int16, ((),)),
    "sparse_sdf": (np.float16, ()),
    "near": (np.float32, ((4,),)),
    "uniform": (np.float32, ((4,),)),
    "surface": (np.float32, ((6,), (3,))),
}
"""Type of each array, and the possible lengths of its rows."""
_MAX_METADATA = 1 << 20  # bytes; a recipe takes a few thousand
_MAX_INFLATION = 1_100
_SMALL = 1 << 24  # bytes; compressed zeros are smaller than 1 / 1,100
_CRC = 4  # bytes of the checksum behind the index of chunks
_BLOSC_HEAD = 16  # bytes


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
    attributes["array_shapes"] = {name: list(values.shape) for name, (values, _) in arrays.items()}
    attributes["array_sha256"] = {name: values_digest(values) for name, (values, _) in arrays.items()}
    zarr.create_group(folder, attributes=attributes)
    for name, (values, rows) in arrays.items():
        _write_array(folder, name, values, rows)
    for name, (values, _) in arrays.items():
        if not np.array_equal(read_array(folder, name), values):
            raise StoreError(f"'{record.key}': array {name} does not read back as it was written; check the disk")


def values_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of the values of an array, in C order."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def read_attributes(folder: StorePath) -> dict[str, Any]:
    """Read the attributes of a group.

    The file is parsed here instead of by Zarr, which takes 20 times as long and looks for other formats, too.

    Raises:
        FileNotFoundError: There is no group.
        ValueError: It is not the metadata of a group of Zarr v3, or too large.
    """
    content = parse_object(_read_metadata(folder))
    attributes = content.get("attributes", {})
    if content.get("zarr_format") != 3 or content.get("node_type") != "group" or not isinstance(attributes, dict):
        raise ValueError(f"{folder / 'zarr.json'} is not a group of Zarr v3")
    return attributes


def read_info(folder: StorePath) -> ShapeInfo:
    """Read the metadata of a shape and the size of its files."""
    attributes = read_attributes(folder)
    sizes = _sizes_in(folder)
    return ShapeInfo(
        **provenance_fields(attributes),
        sign=_parse_sign(attributes["sign"]),
        band_samples=_parse_count(attributes["band_samples"]),
        band_bytes=sum(size for name, size in sizes if name.startswith(("band_index/", "band_sdf/"))),
        stored_bytes=sum(size for _, size in sizes),
    )


def read_summary(folder: StorePath) -> ShapeSummary:
    """Read the metadata of a shape that is in its attributes; of older stores, also the shapes of three arrays."""
    attributes = read_attributes(folder)
    shapes = attributes.get("array_shapes")
    if shapes is None:
        shapes = {name: list(_open(folder, name).shape) for name in ("near", "uniform", "surface")}
    if not isinstance(shapes, dict):
        raise ValueError(f"array_shapes is {shapes!r:.80}")
    rows = {name: _parse_lengths(name, shapes.get(name)) for name in ("near", "uniform", "surface")}
    fields = provenance_fields(attributes)
    return ShapeSummary(
        band_samples=_parse_count(attributes["band_samples"]),
        offsurface_samples=rows["near"][0] + rows["uniform"][0],
        surface_shape=rows["surface"],
        sign=_parse_sign(attributes["sign"]),
        **{name: fields[name] for name in ("similarity", "watertight", "augmented", "sampling_version")},
    )


def _parse_lengths(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError(f"array_shapes has {value!r:.40} for {name}")
    return value[0], value[1]


def _parse_sign(fields: Any) -> SignReport:
    """Report on the sign from the attributes of a group; raises ValueError for other fields or types."""
    if not isinstance(fields, dict) or not isinstance(fields.get("method"), str):
        raise ValueError(f"sign is {fields!r:.80}")
    for name in ("confidence", "sheet"):
        if name in fields and not is_number(fields[name]):
            raise ValueError(f"sign has {name} {fields[name]!r:.40}")
    return SignReport(**fields)


def _parse_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"band_samples is {value!r:.40}")
    return value


def read_samples(folder: StorePath, resolution: int, band_voxels: float, sparse_resolution: int) -> SdfSamples:
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
        sign=_parse_sign(read_attributes(folder)["sign"]),
    )


def read_array(folder: StorePath, name: str) -> NDArray[Any]:
    """Read one of `ARRAYS` without decoding it."""
    return np.asarray(_open(folder, name)[...])


def read_rows(folder: StorePath, name: str, rows: slice) -> NDArray[Any]:
    """Read some rows of one of `ARRAYS`; only the chunks that contain them are read from disk."""
    return np.asarray(_open(folder, name)[rows])


def count_rows(folder: StorePath, name: str) -> int:
    """Number of rows of one of `ARRAYS`."""
    return _open(folder, name).shape[0]


def count_band_chunks(folder: StorePath) -> int:
    """Number of chunks of the band."""
    return _open(folder, "band_index").nchunks


def read_band(
    folder: StorePath, resolution: int, band_voxels: float, chunks: Sequence[int] | None = None
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


def _read_metadata(folder: StorePath) -> bytes:
    """Read the metadata of a group; errors as for `require_small_metadata`.

    A file is opened once, without pathlib, which would take twice as long for 100,000 shapes.
    """
    if isinstance(folder, ObjectPath):
        require_small_metadata(folder)
        return (folder / "zarr.json").read_bytes()
    name = os.path.join(folder, "zarr.json")
    opened = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is not a file, but a folder, a device, a pipe or a socket")
        if status.st_size > _MAX_METADATA:
            raise ValueError(f"{name} has {status.st_size:,} bytes, at most {_MAX_METADATA:,} are read")
        return os.read(opened, status.st_size)
    finally:
        os.close(opened)


def require_small_metadata(folder: StorePath) -> None:
    """Raise ValueError if the metadata of a group or array is no file, or larger than this library writes."""
    file = folder / "zarr.json"
    size = file.size() if isinstance(file, ObjectPath) else regular_size(file)
    if size > _MAX_METADATA:
        raise ValueError(f"{folder / 'zarr.json'} has {size:,} bytes, at most {_MAX_METADATA:,} are read")


def _open(folder: StorePath, name: str) -> zarr.Array[Any]:
    """Open an array and check what it declares.

    Raises:
        FileNotFoundError: Its shard is missing, which Zarr would read as zeros.
        ValueError: It has another dtype, shape, chunks or compression than this layout, or its file cannot have the
            size that it declares.
    """
    require_small_metadata(folder / name)
    array = _open_zarr_array(folder / name)
    _require_layout(array, name)
    if array.size:
        shard = folder.joinpath(name, "c", *"0" * array.ndim)
        if not shard.is_file():
            raise FileNotFoundError(f"the file of array {name} is missing")
        _require_declared_size(array, name, shard)
    return array


def _open_zarr_array(folder: StorePath) -> zarr.Array[Any]:
    if isinstance(folder, ObjectPath):
        return zarr.open_array(ObjectStore(folder.client(), read_only=True), path=folder.key, mode="r", zarr_format=3)
    return zarr.open_array(folder, mode="r")


def _require_layout(array: zarr.Array[Any], name: str) -> None:
    dtype, columns = _LAYOUT[name]
    rows = _SPARSE_CHUNK if name == "sparse_sdf" else CHUNK_ROWS if name.startswith("band") else _ROWS
    fits = array.ndim == 3 if name == "sparse_sdf" else array.shape[1:] in columns
    if array.dtype != dtype or not fits:
        raise ValueError(f"array {name} is {array.dtype} {array.shape}, not as in this layout")
    shards = array.shards or ()
    chunks_fit = array.chunks[0] <= rows and (name == "sparse_sdf" or array.chunks[1:] == array.shape[1:])
    if len(shards) != array.ndim or not chunks_fit or max(array.chunks) > rows or min(array.chunks) < 1:
        raise ValueError(f"array {name} has chunks {array.chunks} in shards {shards}, not as in this layout")
    if any(
        shard < side or shard >= side + chunk + (side == 0)
        for side, shard, chunk in zip(array.shape, shards, array.chunks, strict=True)
    ):
        raise ValueError(f"array {name} has shards {shards} for {array.shape}, not a single one")
    codecs: Any = getattr(array.metadata, "codecs", ())
    sharding = codecs[0] if len(codecs) == 1 else None
    inner, index = getattr(sharding, "codecs", ()), getattr(sharding, "index_codecs", ())
    found = [type(codec) for codec in (sharding, *inner, *index)]
    if found != [ShardingCodec, BytesCodec, BloscCodec, Crc32cCodec, BytesCodec, Crc32cCodec]:
        raise ValueError(f"array {name} is compressed in another way than in this layout")


def _require_declared_size(array: zarr.Array[Any], name: str, shard: StorePath) -> None:
    """Compare the size of an array, and of each chunk, with the file of its chunks.

    The file ends with an index of the offset and size of each chunk and a checksum. A chunk starts with the head of
    Blosc, which has the size of the decompressed chunk in bytes 4 to 7.
    """
    count = math.prod(-(-side // chunk) for side, chunk in zip(array.shards or (), array.chunks, strict=True))
    with _opened(shard) as (size, read):
        declared = array.size * array.dtype.itemsize
        if declared > MAX_BYTES or declared > _SMALL + _MAX_INFLATION * size or 16 * count + _CRC > size:
            raise ValueError(f"array {name} declares {declared:,} bytes, which its file of {size:,} bytes cannot hold")
        chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
        places = np.frombuffer(read(size - 16 * count - _CRC, 16 * count), "<u8").reshape(count, 2).tolist()
        for offset, length in places:
            head = read(min(offset, size), _BLOSC_HEAD)
            if offset + length > size or len(head) < _BLOSC_HEAD or int.from_bytes(head[4:8], "little") != chunk_bytes:
                raise ValueError(f"a chunk of array {name} has another size than the array declares")


@contextmanager
def _opened(path: StorePath) -> Iterator[tuple[int, Callable[[int, int], bytes]]]:
    """Yield the size of a file, and a function that reads a number of bytes from an offset."""
    if isinstance(path, ObjectPath):
        size = path.size()
        yield size, lambda offset, length: path.read_range(offset, min(length, size - offset))
        return
    with path.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        yield path.stat().st_size, read


def _sizes_in(folder: StorePath) -> list[tuple[str, int]]:
    """Names relative to a folder, with slashes, and sizes of all files below it."""
    if isinstance(folder, ObjectPath):
        return list(folder.files())
    return [(file.relative_to(folder).as_posix(), file.stat().st_size) for file in folder.rglob("*") if file.is_file()]


def _consecutive(numbers: Sequence[int]) -> list[range]:
    """Group numbers into runs of consecutive ones, each of which is read at once."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs
