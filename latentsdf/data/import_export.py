"""Sample stores to and from other files: one HDF5 file of decoded arrays, DeepSDF's folders of npz, point clouds.

The root attributes of the HDF5 file are `format`, `version` and the sampling settings, among them the cells per axis
`resolution` R. Each shape is a group category/id with the fields of `ShapeRecord` as attributes and the datasets

| dataset | content |
|---|---|
| `band_index` (B,) | uint32 (i (R + 1) + j) (R + 1) + k, sorted; the vertex lies at -1 + 2 (i, j, k) / R |
| `band_distance` (B,) | float32 |
| `sparse_distance` | float32, the whole sparse lattice |
| `near`, `uniform` (M, 4), `surface` (M, 6) or (M, 3) | float32, as in the store |

DeepSDF's SdfSamples/<dataset>/<class>/<id>.npz holds `pos` and `neg` (N, 4), points with their distance at random
places. They become the `near` samples of a shape without band, lattice, and surface points. Any other folder is taken
as one of point clouds, see `clouds`.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import h5py
import numpy as np
from numpy.typing import NDArray

from latentsdf.config import loader
from latentsdf.config.sampling import Normalization, SamplingConfig
from latentsdf.data.import_pointclouds import CLOUD_SUFFIXES, CLOUDS, find_clouds, read_record
from latentsdf.data.mesh_datasets import MeshFile, choose
from latentsdf.data.records import ShapeRecord, provenance_of
from latentsdf.data.store import FORMAT, SampleStore
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples, band_width, without_lattices
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, StoreError

Compression = Literal["gzip", "lzf"]

HDF5_VERSION = 1
DEEPSDF = SamplingConfig(sparse_resolution=0, near=0, near_std=0.0, uniform=0, surface=0)
"""Settings of a store of DeepSDF samples: none were made by us, and the band says which ones count as close."""

_ARRAYS = ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface")


@dataclass
class Imported:
    """Keys of what was imported, how many were in the store before, and why the others failed, by key."""

    store: str
    imported: list[str] = field(default_factory=list)
    present: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def export_samples(
    store: SampleStore, out: Path, names: Sequence[str] = (), compression: Compression = "gzip"
) -> list[str]:
    """Write shapes, chosen by id or category/id, or all of them, to an HDF5 file; returns their keys.

    The file appears whole or not at all. Raises ConfigError for a name that is not one shape, StoreError when the
    store is empty or damaged, or the file cannot be written.
    """
    keys = [_named(store, name) for name in dict.fromkeys(names)] or store.keys()
    if not keys:
        raise StoreError(f"{store.path}: holds no shapes to export")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; name an HDF5 file such as {out.with_suffix('.h5').name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_write(out) as aside,
            h5py.File(aside, "w") as file,
            track("exporting", total=len(keys), unit="shape") as advance,
        ):
            file.attrs.update({"format": FORMAT, "version": HDF5_VERSION, **asdict(store.config)})
            for key in keys:
                _write_group(file.create_group(key), store.read(key), compression)
                advance()
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{out}: cannot be written ({error})") from error
    return keys


def import_samples(
    source: Path,
    out: Path,
    *,
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
    normalization: Normalization | None = None,
    overwrite: bool = False,
) -> Imported:
    """Bring an exported HDF5 file, a folder of DeepSDF's npz files, or one of point clouds into a store, new or with
    the same settings.

    Shapes are chosen as meshes are; those the store holds are left alone without `overwrite`, and one that cannot be
    used is named in the result. `normalization` brings clouds to model space, by default to the unit sphere. Raises
    FileNotFoundError, ConfigError when nothing is selected or samples would have to be normalized, StoreError for a
    file of another layout or version, a store with other settings, or a full disk.
    """
    config, found, read = _folder(source, normalization or "sphere") if source.is_dir() else _hdf5_file(source)
    if normalization is not None and read is not read_record:
        raise ConfigError(f"{source}: its samples are in model space already; leave the normalization out")
    chosen = choose(found, source, categories, split, pattern)
    store = SampleStore.create(out, config)
    report = Imported(str(out))
    with track("importing", total=len(chosen), unit="shape") as advance:
        for file in chosen:
            key = f"{file.category}/{file.id}"
            if key in store and not overwrite:
                report.present += 1
            else:
                try:
                    record = read(file, config)
                except StoreError as error:
                    report.failed[key] = str(error)
                else:
                    store.write(record)
                    report.imported.append(key)
            advance()
    return report


_Reader = Callable[[MeshFile, SamplingConfig], ShapeRecord]


def _named(store: SampleStore, name: str) -> str:
    hits = [key for key in store if name in (key, key.partition("/")[2])]
    if len(hits) != 1:
        what = f"has several shapes '{name}': {', '.join(hits[:3])}" if hits else f"has no shape '{name}'"
        raise ConfigError(f"{store.path}: {what}; name one as category/id, see latentsdf info {store.path}")
    return hits[0]


def _write_group(group: h5py.Group, record: ShapeRecord, compression: Compression) -> None:
    sign = record.samples.sign
    group.attrs.update(
        record.attributes() | {"sign_method": sign.method, "sign_confidence": sign.confidence, "sheet": sign.sheet}
    )
    for name in _ARRAYS:
        values = getattr(record.samples, name)
        # HDF5 cannot cut nothing into chunks.
        coding = {"compression": compression, "shuffle": True, "fletcher32": True} if values.size else {}
        group.create_dataset(name, data=values, **coding)


def _hdf5_file(path: Path) -> tuple[SamplingConfig, list[MeshFile], _Reader]:
    """The sampling settings and shapes of an exported file."""
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
            if version != HDF5_VERSION:
                raise StoreError(
                    f"{path}: version {version}, this latentsdf reads version {HDF5_VERSION}; export it again"
                )
            found = [MeshFile(category, id, path) for category in file for id in file[category]]
    except OSError as error:
        raise StoreError(f"{path}: is no HDF5 file, or it is cut off ({error})") from error
    return loader.from_dict(SamplingConfig, attributes, source=str(path)), found, _read_group


def _read_group(file: MeshFile, config: SamplingConfig) -> ShapeRecord:
    """One shape of an exported file, checked."""
    name = f"{file.path.name}: {file.category}/{file.id}"
    try:
        with h5py.File(file.path, "r") as opened:
            group = opened[file.category][file.id]
            attributes: dict[str, Any] = dict(group.attrs)
            samples = SdfSamples(
                resolution=config.resolution,
                band_voxels=config.band_voxels,
                sparse_resolution=config.sparse_resolution,
                sign=SignReport(
                    attributes["sign_method"], float(attributes["sign_confidence"]), float(attributes.get("sheet", 0.0))
                ),
                **{name: np.asarray(group[name]) for name in _ARRAYS},
            )
            record = ShapeRecord(category=file.category, id=file.id, samples=samples, **provenance_of(attributes))
    except (OSError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise StoreError(f"{name} is damaged ({error}); export it again") from error
    _require_sound(name, samples)
    return record


def _require_sound(name: str, samples: SdfSamples) -> None:
    """Raise StoreError for arrays that are not what a store holds."""
    band, side = len(samples.band_index), samples.sparse_resolution + 1
    lattice = (side,) * 3 if samples.sparse_resolution else (0, 0, 0)
    expected = {"band_index": (band,), "band_distance": (band,), "sparse_distance": lattice}
    expected |= {"near": (len(samples.near), 4), "uniform": (len(samples.uniform), 4)}
    columns = 3 if samples.surface.shape[1:] == (3,) else 6
    expected |= {"surface": (len(samples.surface), columns)}
    for array, shape in expected.items():
        values = getattr(samples, array)
        kind = np.uint32 if array == "band_index" else np.float32
        if values.shape != shape or values.dtype != kind:
            raise StoreError(f"{name}: expected {array} of {np.dtype(kind)} {shape}, got {values.dtype} {values.shape}")
        if not np.isfinite(values).all():
            raise StoreError(f"{name}: {array} holds values that are not finite numbers")
    if band and samples.band_index.max() >= (samples.resolution + 1) ** 3:
        raise StoreError(f"{name}: band_index names vertices outside the lattice of {samples.resolution} cells an axis")
    if band and np.abs(samples.band_distance).max() > 1.001 * band_width(samples.resolution, samples.band_voxels):
        raise StoreError(f"{name}: band_distance exceeds {samples.band_voxels} cells of {samples.resolution}")


def _folder(root: Path, normalization: Normalization) -> tuple[SamplingConfig, list[MeshFile], _Reader]:
    """The samples of a DeepSDF data folder, or of any folder within; else the clouds of a folder."""
    # Beside the samples, DeepSDF keeps normalization parameters in npz files of the same names.
    samples = root / "SdfSamples" if (root / "SdfSamples").is_dir() else root
    found = [MeshFile(path.parent.name, path.stem, path) for path in samples.rglob("*.npz")]
    if any(_is_deepsdf(file.path) for file in found):
        return DEEPSDF, found, _read_npz
    found = find_clouds(root)
    if not found:
        raise ConfigError(
            f"{root}: expected DeepSDF samples <class>/<id>.npz, or point clouds <category>/<id> of "
            f"{', '.join(CLOUD_SUFFIXES)}; found neither"
        )
    return replace(CLOUDS, normalization=normalization), found, read_record


def _is_deepsdf(path: Path) -> bool:
    """Does the file hold arrays of the names DeepSDF uses? What cannot be opened tells nothing."""
    try:
        with np.load(path) as arrays:
            return {"pos", "neg"} <= set(arrays.files)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile):
        return False


def _read_npz(file: MeshFile, config: SamplingConfig) -> ShapeRecord:
    """One shape of DeepSDF; rows that are not finite are dropped, as DeepSDF does."""
    name = file.path.name
    try:
        with np.load(file.path) as arrays:
            parts = {sign: arrays[sign] for sign in ("pos", "neg")}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise StoreError(f"{name}: expected arrays pos and neg (N, 4), but they cannot be read ({error})") from error
    for sign, values in parts.items():
        if values.ndim != 2 or values.shape[1] != 4 or values.dtype.kind != "f":
            raise StoreError(f"{name}: expected {sign} (N, 4) of floats, got {values.dtype} {values.shape}")
    pos, neg = (values[np.isfinite(values).all(1)] for values in parts.values())
    if (pos[:, 3] < 0).any() or (neg[:, 3] > 0).any():
        raise StoreError(f"{name}: expected distances >= 0 in pos and <= 0 in neg, got others")
    near: NDArray[np.float32] = np.concatenate([pos, neg]).astype(np.float32)
    samples = without_lattices(config, "imported", near=near)
    width = band_width(samples.resolution, samples.band_voxels)
    close = near[np.abs(near[:, 3]) <= width]
    if len(close) == 0:
        raise StoreError(f"{name}: none of its {len(near)} samples is within {width:.4f} of the surface")
    if np.abs(close[:, :3]).max() > 1:
        raise StoreError(
            f"{name}: samples at the surface reach {np.abs(close[:, :3]).max():.3g}, outside [-1, 1]; "
            "sample the shape scaled to the unit sphere, as DeepSDF does"
        )
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    return ShapeRecord(
        category=file.category,
        id=file.id,
        samples=samples,
        similarity=IDENTITY,
        source=name,
        source_sha256=digest,
        watertight=False,
        area=0.0,
        seed=int(digest[:8], 16),
    )
