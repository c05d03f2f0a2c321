"""HDF5 files of decoded samples, for exchange with other programs.

    <root>                      attributes: format, version, and the fields of SamplingConfig
        <category>/<id>         attributes: see below
            band_index ...      datasets: see below

| dataset | shape | dtype | content |
|---|---|---|---|
| `band_index` | (B,) | uint32 | vertices of the dense lattice in the band, as sorted linear indices |
| `band_distance` | (B,) | float32 | signed distances of these vertices |
| `sparse_distance` | (r + 1, r + 1, r + 1) | float32 | signed distance at all vertices of the sparse lattice |
| `near`, `uniform` | (M, 4) | float32 | points and signed distances |
| `surface` | (M, 6) | float32 | surface points and outward unit normals; (M, 3) without normals |

The linear index `(i (R + 1) + j) (R + 1) + k` refers to the vertex at -1 + 2 (i, j, k) / R, where R is the root
attribute `resolution` and r the root attribute `sparse_resolution`. Points and distances are in model space, negative
inside.

Attributes of a shape: the fields of `records.Provenance` (`center` and `scale` for the similarity), and of its
`SignReport` as `sign_method`, `sign_confidence` and `sheet`. Datasets are compressed, with byte shuffle and Fletcher-32
checksums; empty ones are stored without filters.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from latentsdf.config import loader
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.hdf5_limits import plain_dataset, plain_group
from latentsdf.data.hdf5_output import HDF5Output
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.data.records import ShapeRecord, provenance_fields
from latentsdf.data.store import FORMAT, SampleStore
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.console import track
from latentsdf.utils.errors import OutputError, StoreError
from latentsdf.utils.shape_ids import RULE, is_key

Compression = Literal["gzip", "lzf"]

VERSION = 1

_DATASETS = ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface")


def write_file(path: Path, store: SampleStore, keys: Sequence[str], compression: Compression) -> None:
    """Write shapes of a store to a new file, atomically.

    Args:
        path: The file; an existing one is replaced.
        store: The sample store.
        keys: Keys of the shapes to write.
        compression: Compression of the arrays.

    Raises:
        StoreError: A shape is damaged, or the file cannot be written.
    """
    try:
        with (
            atomic_write(path) as temporary,
            HDF5Output(temporary) as output,
            track("exporting", total=len(keys), unit="shape") as advance,
        ):
            with h5py.File(output, "w") as file:
                file.attrs.update({"format": FORMAT, "version": VERSION, **asdict(store.config)})
                for key in keys:
                    _write_record(file.create_group(key), store.read(key), compression)
                    file.flush()
                    output.check()
                    advance()
            output.check()
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{path}: cannot be written ({error})") from error


def open_file(path: Path) -> tuple[SamplingConfig, list[ShapeFile]]:
    """Read the sampling settings of a file and find its shapes.

    Raises:
        FileNotFoundError: There is no such file.
        StoreError: The file was not exported by latentsdf, or by another version of the format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such HDF5 file, nor a folder of npz files")
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: value.item() if hasattr(value, "item") else value for name, value in file.attrs.items()}
            if attributes.pop("format", None) != FORMAT:
                raise StoreError(
                    f"{path}: not a file that latentsdf export wrote; meshes and D-FAUST registrations are read by "
                    "latentsdf-preprocess --source"
                )
            version = attributes.pop("version", None)
            if version != VERSION:
                raise StoreError(
                    f"{path}: version {version}, but this latentsdf reads version {VERSION}; export it again"
                )
            shapes = [ShapeFile(category, id, path) for category in file for id in plain_group(file, category)]
    except ValueError as error:
        raise StoreError(f"{path}: {error}; export the samples again") from error
    except OSError as error:
        raise StoreError(f"{path}: is not an HDF5 file, or it is truncated ({error})") from error
    for shape in shapes:
        if not is_key(shape.key):
            raise StoreError(f"{path}: {shape.key!r} is not a valid name of a shape; expected category/id, {RULE}")
    return loader.from_dict(SamplingConfig, attributes, source=str(path)), shapes


def read_record(file: ShapeFile, config: SamplingConfig) -> ShapeRecord:
    """Read and check one shape of an exported file.

    Raises:
        StoreError: The shape is damaged or inconsistent with the settings.
    """
    name = f"{file.path.name}: {file.category}/{file.id}"
    try:
        with h5py.File(file.path, "r") as opened:
            group = plain_group(plain_group(opened, file.category), file.id)
            attributes: dict[str, Any] = dict(group.attrs)
            samples = SdfSamples(
                resolution=config.resolution,
                band_voxels=config.band_voxels,
                sparse_resolution=config.sparse_resolution,
                sign=SignReport(
                    attributes["sign_method"], float(attributes["sign_confidence"]), float(attributes.get("sheet", 0.0))
                ),
                **{name: np.asarray(plain_dataset(group, name)) for name in _DATASETS},
            )
            record = ShapeRecord(category=file.category, id=file.id, samples=samples, **provenance_fields(attributes))
    except (OSError, RuntimeError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{name} is damaged ({error}); export it again") from error
    _validate(name, samples)
    return record


def _write_record(group: h5py.Group, record: ShapeRecord, compression: Compression) -> None:
    sign = record.samples.sign
    group.attrs.update(
        record.attributes() | {"sign_method": sign.method, "sign_confidence": sign.confidence, "sheet": sign.sheet}
    )
    for name in _DATASETS:
        values = getattr(record.samples, name)
        # Filters need chunks, and HDF5 cannot chunk an empty dataset.
        filters = {"compression": compression, "shuffle": True, "fletcher32": True} if values.size else {}
        group.create_dataset(name, data=values, **filters)


def _validate(name: str, samples: SdfSamples) -> None:
    """Raise StoreError for arrays with a wrong shape, dtype or range of values."""
    band, side = len(samples.band_index), samples.sparse_resolution + 1
    lattice = (side,) * 3 if samples.sparse_resolution else (0, 0, 0)
    expected = {"band_index": (band,), "band_distance": (band,), "sparse_distance": lattice}
    expected |= {"near": (len(samples.near), 4), "uniform": (len(samples.uniform), 4)}
    columns = 3 if samples.surface.shape[1:] == (3,) else 6
    expected |= {"surface": (len(samples.surface), columns)}
    for array, shape in expected.items():
        values = getattr(samples, array)
        dtype = np.uint32 if array == "band_index" else np.float32
        if values.shape != shape or values.dtype != dtype:
            raise StoreError(
                f"{name}: expected {array} of {np.dtype(dtype)} {shape}, got {values.dtype} {values.shape}"
            )
        if not np.isfinite(values).all():
            raise StoreError(f"{name}: {array} has values that are not finite")
    if band and samples.band_index.max() >= (samples.resolution + 1) ** 3:
        raise StoreError(f"{name}: band_index has vertices outside the lattice of {samples.resolution} cells per axis")
    if band and np.abs(samples.band_distance).max() > 1.001 * band_width(samples.resolution, samples.band_voxels):
        raise StoreError(
            f"{name}: band_distance exceeds the band width of {samples.band_voxels} cells, at {samples.resolution} "
            "cells per axis"
        )
